"""Timelines of short and long recordings."""

import numpy as np
import pytest
from matplotlib.colors import same_color

from meranet_jax.prediction import timeline
from tests.meranet_jax.prediction.predictions import (
    NAMES,
    event,
    face,
    prediction,
    recognised,
)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def strips(axes):
    """The lines of motion, each as a pair of times and values."""
    lines = [line for line in axes.lines if same_color(line.get_color(), "0.2")]
    return [line.get_data() for line in lines]


def gaps(axes):
    """Start and end of the hatched times."""
    hatched = [one for one in axes.collections if one.get_hatch()]
    vertices = [one.get_paths()[0].vertices[:, 0] for one in hatched]
    return [(times.min(), times.max()) for times in vertices]


def test_short_recording_is_one_row_with_labels_and_marks(tmp_path):
    figure = timeline.draw(prediction())
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 4)
    assert texts(figure) == ["1 disgust", "2 no answer", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("mouth", "nose", "brow", "eyes")
    ]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [pytest.approx(0.55)]
    mouth, nose, *_ = strips(axes)
    assert mouth[0][mouth[1].argmax()] in (0.5, 1.7)
    assert nose[1].max() < 1.3 < mouth[1].max() + 1
    assert "not micro-expressions" in axes.get_xlabel()
    timeline.write(prediction(), tmp_path / "timeline.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["timeline.png", "timeline.svg"]
    assert b"clip.mp4: motion of the face" in (tmp_path / "timeline.svg").read_bytes()


def test_gaps_are_those_of_the_face(tmp_path):
    times = np.arange(121) / 30
    seen = (times < 0.99) | (times > 2.01)
    figure = timeline.draw(prediction((), faces=[face(1, times, seen=seen)]))
    (axes,) = figure.axes
    assert gaps(axes) == [(pytest.approx(29.5 / 30), pytest.approx(60.5 / 30))]
    assert all(np.isnan(values[30:60]).all() for _, values in strips(axes))
    figure = timeline.draw(prediction((), faces=()))
    assert texts(figure) == ["no face"] and gaps(figure.axes[0]) == [(0, 4)]


def test_missing_frames_are_not_connected():
    times = np.concatenate([np.arange(30), np.arange(90, 121)]) / 30
    made = prediction((), faces=[face(1, times)], times=times, numbers=times)
    for at, values in strips(timeline.draw(made).axes[0]):
        between = (at > 0.99) & (at < 3.01)
        assert np.isnan(values[between]).any()


def test_long_recording_is_six_rows_that_keep_the_shortest_motion():
    times = np.arange(0, 3601, 0.25)  # fewer frames, so that the test is fast
    one = face(1, times)
    one.signals.motion[:] = 0.001
    one.signals.motion[4 * 1000 + 1, NAMES.index("lip_upper")] = 0.05
    events = [event(i + 1, 100 + i, 100.1 + i, 100.2 + i) for i in range(40)]
    # Thousands of frames in a row are more than it has columns.
    figure = timeline.draw(
        prediction(events, 3600.0, faces=[one], times=times, numbers=times)
    )
    assert [axes.get_xlim() for axes in figure.axes] == [
        (600 * i, 600 * (i + 1)) for i in range(6)
    ]
    mouth, *_ = strips(figure.axes[1])
    assert len(mouth[0]) <= 1501
    assert mouth[0][mouth[1].argmax()] == pytest.approx(1000.25, abs=0.5)
    assert mouth[1].max() == pytest.approx(0.9)
    labels = texts(figure)
    assert 5 < len(labels) < 40 and set(labels) <= {str(i + 1) for i in range(40)}
    note = figure.axes[-1].get_xlabel()
    assert f"without a label, for lack of space: {40 - len(labels)}." in note


def test_labels_do_not_cover_each_other():
    found = recognised(0.7, 0.2, 0.1)
    events = [
        event(i + 1, 0.1 * i, 0.1 * i + 0.05, 0.1 * i + 0.1, recognition=found)
        for i in range(39)
    ]
    figure = timeline.draw(prediction(events))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 30
    assert not any(
        one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i]
    )


def test_several_faces_have_a_panel_where_they_are_seen():
    times = np.arange(60 * 30 + 1) / 30
    faces = [face(1, times), *(face(i, times, seen=times < 15) for i in range(2, 7))]
    given = event(2, 50.0, 50.1, 50.2, face=6, origin="imported", label="smile")
    made = prediction([event(1, 1.0, 1.1, 1.2), given], 60.0, faces=faces)
    figure = timeline.draw(made)
    shown = [(axes.get_xlim(), axes.get_ylabel()) for axes in figure.axes]
    rows = [((0, 20), f"face {i}") for i in (1, 2, 3, 4)]
    assert shown == [*rows, ((20, 40), "face 1"), ((40, 60), "face 1")]
    note = figure.axes[-1].get_xlabel()
    assert "Faces not drawn: 2" in note
    assert "Candidates of other faces, not drawn: 1." in note


def test_names_and_labels_are_drawn_as_they_are(tmp_path):
    label = "$\\frac$ 微笑 " + "x" * 30
    made = prediction(
        [event(1, 0.4, 0.5, 0.7, origin="imported", label=label)],
        source=tmp_path / ("$a$" + "b" * 100 + ".mp4"),
    )
    timeline.write(made, tmp_path / "timeline")
    svg = (tmp_path / "timeline.svg").read_text(encoding="utf-8")
    assert "1 $\\frac$ 微笑 xxxx" in svg and "$a$bbb" in svg


def test_recordings_of_which_little_is_known():
    times = np.zeros(1)
    unseen = face(1, np.arange(4) / 30)
    unseen.signals.motion[:] = np.nan
    one = prediction((), faces=(), duration=0.0, numbers=times, times=times)
    assert texts(timeline.draw(one)) == ["no face"]
    made = prediction(
        [event(1, 0.0, 0.0, 0.1, strength=None)],
        faces=[unseen],
        duration=0.1,
        numbers=np.arange(4),
        times=np.arange(4) / 30,
    )
    figure = timeline.draw(made)
    figure.draw_without_rendering()
    assert texts(figure) == ["1"]
