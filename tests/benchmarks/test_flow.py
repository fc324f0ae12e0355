import numpy as np
import pytest
from scipy import ndimage

from benchmarks import flow
from datasets.synthetic import face


@pytest.mark.parametrize("photograph", [False, True])
def test_true_flow_leads_from_the_reference_to_the_frame(photograph, monkeypatch):
    monkeypatch.setattr(flow, "_FLICKER", 0)
    person = face.draw_face(np.random.default_rng(7))
    if photograph:
        person = flow._astronaut()
    clip = flow._clip(person, "surprise", (2.0, 3.0), 0.0, "moving", (1, 0))
    y, x = np.mgrid[: face.FRAME, : face.FRAME]
    inside = (slice(8, -8), slice(8, -8))
    reference = clip.reference.astype(float)
    for frame, field in zip(clip.frames, clip.flow, strict=True):
        places = (y + field[..., 1], x + field[..., 0])
        back = np.stack(
            [
                ndimage.map_coordinates(frame[..., c].astype(float), places, order=3)
                for c in range(3)
            ],
            -1,
        )
        left = np.abs(back - reference)[inside].mean()
        before = np.abs(frame - reference)[inside].mean()
        assert left < 0.2 * before
    # The expression moves the chin downwards, more than the rest of the face.
    column, row = np.array(person.landmarks["chin"]).astype(int)
    assert (clip.expression[:, row, column, 1] > 0.5).all()


def test_our_setting_is_that_of_the_module():
    clip = flow._clip(flow._astronaut(), "disgust", (0.5, 1.5), 2.0, "moving", (0, 0))
    settings = {(s.method, s.name): s for s in flow._settings()}
    for method, name in (("dis", "ours"), ("farneback", "window 21 (ours)")):
        expected = flow.optical_flow.estimate(clip.reference, clip.frames, method)
        got = settings[method, name](clip.reference, clip.frames)
        assert np.abs(got - expected).mean() < 0.005
