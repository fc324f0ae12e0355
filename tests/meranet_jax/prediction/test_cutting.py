"""Clips of recordings, compared with the records that training uses."""

import dataclasses

import imageio.v3 as iio
import numpy as np
import pytest

from datasets import prepare
from datasets.source.examples import make_example
from datasets.source.local_copy import open_local_copy
from meranet_jax.config import default_config
from meranet_jax.prediction.cut import NotCut
from meranet_jax.prediction.cutting import Cutter, Wanted, clip_settings
from meranet_jax.video.frames import list_recording
from meranet_jax.video.images import read_image
from meranet_jax.video.measurement import Measurement
from meranet_jax.video.sampling import window_frame_numbers
from meranet_jax.video.stream import open_stream
from tests.datasets.astronaut import filmed, with_faces
from tests.datasets.casme2_tree import SHORT, id_of

RATE = 200
# Of the face while it moves by a pixel per frame, see ``with_faces``
BOX = np.array([235, 155, 385, 325])


def measured(folder, rate=RATE, damaged=()):
    """Returns the frames of a folder as a measurement that found nothing."""
    numbers = np.array(list(list_recording(folder).locations))
    times = (numbers - numbers[0]) / rate
    return Measurement(numbers, times, numbers, times, list(damaged), 1.0, [])


def seconds(folder, number, rate=RATE):
    return (number - measured(folder).all_numbers[0]) / rate


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of CASME II with one expression, and the folder of its frames."""
    row = SHORT[0]
    manual_dir = with_faces(tmp_path_factory.mktemp("copy"), rows=[row])
    return manual_dir, manual_dir / "CASME2_RAW_selected" / id_of(row)


def record_and_clip(copy, **options):
    """Returns the record of the expression, and the clip of the same frames."""
    manual_dir, folder = copy
    config = prepare.configuration("casme2", prepare.Options(**options))
    specification = prepare.builder_class("casme2").SPECIFICATION
    opened = open_local_copy(specification, config, manual_dir)
    ((clip_id, row),) = opened.rows
    record = make_example(opened, config, clip_id, row).record
    onset, apex, offset = (
        seconds(folder, record[name]) for name in ("onset", "apex", "offset")
    )
    run = default_config("casme2", "paper").change(**options)
    settings = clip_settings(run, {"casme2": [RATE]}, RATE)
    wanted = [Wanted(onset, apex, offset, BOX, exact=True)]
    (found,) = Cutter(
        open_stream(folder, RATE), measured(folder), settings, wanted
    ).clips()
    return record, found


@pytest.mark.parametrize("sampling", ["apex", "uniform", "tim"])
def test_a_clip_is_cut_as_a_clip_of_training_is(copy, sampling):
    record, found = record_and_clip(copy, sampling=sampling, frames=8)
    for name in ("clip", "onset_frame", "apex_frame"):
        np.testing.assert_array_equal(found.features[name], record[name])
    assert found.side == pytest.approx(record["face"][2])


def test_a_slower_recording_gives_the_nearest_frames(copy, tmp_path):
    record, _ = record_and_clip(copy, frames=8)
    numbers = measured(copy[1]).all_numbers
    for place, number in enumerate(numbers[::4].tolist(), start=1):
        picture = read_image(list_recording(copy[1]).locations[number])
        iio.imwrite(tmp_path / f"img{place}.jpg", picture, quality=95)
    run = default_config("casme2", "paper").change(frames=8)
    settings = clip_settings(run, {"casme2": [RATE]}, RATE / 4)
    apex = seconds(copy[1], record["apex"])
    (found,) = Cutter(
        open_stream(tmp_path, RATE / 4),
        measured(tmp_path, RATE / 4),
        settings,
        [Wanted(0.0, apex, numbers[-1] / RATE, BOX)],
    ).clips()
    # The window is as long as that of training, 160 ms.
    times = (np.arange(8) - 4) * 32 // 8 / RATE
    nearest = np.rint((round(apex * RATE / 4) / (RATE / 4) + times) * RATE / 4)
    nearest = np.clip(nearest, 0, (len(numbers) - 1) // 4)
    np.testing.assert_array_equal(found.clip_frames, nearest)
    assert found.distinct({"clip"}) == (len(set(found.clip_frames)), 8)
    assert found.distinct({"onset_frame", "apex_frame"})[1] == 2
    assert found.distinct({"clip"})[0] < 8


def test_windows_are_those_of_training_at_other_frame_rates(tmp_path):
    picture, _, _ = filmed(1.2)
    for number in range(1, 26):
        iio.imwrite(tmp_path / f"img{number}.jpg", picture)
    run = default_config("casme2", "paper")
    for rate in (25, 30, 50):
        settings = clip_settings(run, {"casme2": [RATE]}, rate)
        wanted = [Wanted(0.0, 12 / rate, 24 / rate, BOX, exact=True)]
        stream, found = open_stream(tmp_path, rate), measured(tmp_path, rate)
        (clip,) = Cutter(stream, found, settings, wanted).clips()
        numbers = window_frame_numbers(
            *(12, 0, 24), window=32, frames=16, step=rate / RATE
        )
        np.testing.assert_array_equal(clip.clip_frames, numbers)


def test_the_apex_is_refined_at_the_frame_rate_of_the_recording(tmp_path):
    still, _, _ = filmed(1.2)
    moved = np.roll(still, 3, axis=0)
    for number in range(1, 33):  # the brows move at frame 18
        share = max(1 - abs(number - 18) / 12, 0)
        picture = still.copy()
        part = np.s_[190:225, 260:380]
        picture[part] = (share * moved[part] + (1 - share) * still[part]).round()
        iio.imwrite(tmp_path / f"img{number}.jpg", picture, quality=95)
    run = default_config("casme2", "paper")
    settings = clip_settings(run, {"casme2": [RATE]}, RATE)
    near = Wanted(5 / RATE, 15 / RATE, 30 / RATE, BOX)  # as 30 Hz would find it
    wanted = [near, dataclasses.replace(near, exact=True)]
    refined, exact = sorted(
        Cutter(
            open_stream(tmp_path, RATE), measured(tmp_path), settings, wanted
        ).clips(),
        key=lambda one: one.index,
    )
    assert abs(refined.apex_frame - 17) <= 1 and exact.apex_frame == 15
    assert refined.apex == pytest.approx(refined.apex_frame / RATE)


def test_damaged_frames_are_passed_over_and_other_faces_too(tmp_path):
    left, _, _ = filmed(1.0, place=(160, 240))
    right, _, _ = filmed(1.0, place=(480, 240))
    both = np.concatenate([left[:, :320], right[:, 320:]], 1)
    for number in range(1, 41):
        iio.imwrite(tmp_path / f"img{number}.jpg", both, quality=95)
    run = default_config("casme2", "paper").change(frames=8)
    settings = clip_settings(run, {"casme2": [RATE]}, RATE)
    boxes = [np.array([x - 50, 170, x + 50, 310]) for x in (160, 480)]
    nobody = np.array([290, 10, 330, 50])
    wanted = [
        Wanted(0.02, 0.1, 0.15, box, exact=True, large=box is boxes[0])
        for box in (*boxes, nobody)
    ]
    found = Cutter(
        open_stream(tmp_path, RATE),
        measured(tmp_path, damaged=[21, 22]),
        settings,
        wanted,
    ).clips()
    by_index = {one.index: one for one in found}
    assert isinstance(by_index[2], NotCut) and "face" in by_index[2].reason
    assert not {20, 21} & set(by_index[0].clip_frames)  # indices from 0
    for one in (by_index[0], by_index[1]):
        assert one.apex_frame in (19, 22)
    # Both faces are the same picture: a crop of the gap between them would differ.
    first, second = (by_index[n].features["clip"].astype(int) for n in (0, 1))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
    # Pictures for people have the details of the recording, if they were asked for.
    without = dataclasses.replace(by_index[0], large={})
    (large, _, _), (small, _, _) = (one.pictures(180) for one in (by_index[0], without))
    assert large.shape == small.shape == (8, 180, 180, 3)
    details = [
        np.abs(np.diff(one.astype(int), axis=2)).mean() for one in (large, small)
    ]
    assert details[0] > 1.1 * details[1] and not by_index[1].large
    assert np.abs(large.astype(int) - small).mean() < 10
