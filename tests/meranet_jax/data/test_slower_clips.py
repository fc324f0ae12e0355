"""Clips at a lower frame rate consist of the frames that a slower camera has."""

import dataclasses

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.data import machine, slower_clips, slower_frames
from meranet_jax.data.clip_store import convert_frames
from meranet_jax.data.clips import LazyClips
from meranet_jax.data.records import open_records
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry
from meranet_jax.video.sampling import interpolate
from tests.meranet_jax.loading import load, source
from tests.meranet_jax.records import rows_of, write_records


def config(**flags):
    shape = {"frames": 8, "window": 16, "size": 16, "model": "resnet3d"}
    return TrainConfig.from_flags(**shape | flags)


def timing(**flags):
    return slower_frames.timing(config(**flags), 200.0, onset=101, apex=121, offset=141)


def test_frames_of_a_clip_have_the_times_at_which_they_were_recorded():
    paper = timing(frames=16, window=32)
    # Every second frame of 200 Hz, from 16 frames before the apex
    np.testing.assert_allclose(paper.frames, 0.1 + 0.01 * np.arange(-8, 8), atol=1e-12)
    assert paper.apex == pytest.approx(0.1) and paper.spacing == pytest.approx(0.01)
    resampled = timing(rate=50.0)  # windows of 16 frames of 20 ms
    np.testing.assert_allclose(resampled.frames, 0.1 + 0.04 * np.arange(-4, 4))
    uniform = timing(sampling="uniform", frames=5)
    np.testing.assert_allclose(uniform.frames, [0, 0.05, 0.1, 0.15, 0.2])
    tim = timing(sampling="tim", frames=6)
    np.testing.assert_allclose(tim.frames, [0, 0.04, 0.08, 0.12, 0.16, 0.2])


def test_a_recording_at_30_hz_has_five_of_16_frames_in_160_ms():
    paper = timing(frames=16, window=32)
    shown = slower_frames.slow_down(paper, 30, 0, from_onset=False)
    # At 0, 33, 67, 100 and 133 ms of frames that are 10 ms apart
    assert shown.kept.tolist() == [0, 3, 7, 10, 13]
    expected = [0, 0, 3, 3, 3, 3, 7, 7, 7, 10, 10, 10, 13, 13, 13, 13]
    # Of two frames that are equally near, the earlier one is shown.
    expected[5] = 3
    assert shown.clip.tolist() == expected
    assert shown.apex == 7 and shown.apex_shift == pytest.approx(0.01)
    later = slower_frames.slow_down(paper, 30, 1 / 3, from_onset=False)
    assert later.kept.tolist() == [1, 4, 8, 11, 14] and later.apex == 8
    # From the onset, 20 ms before the clip: at 33, 67, 100 ...
    of_onset = slower_frames.slow_down(paper, 30, 0, from_onset=True)
    assert of_onset.kept.tolist() == [1, 5, 8, 11, 15]
    assert of_onset.apex_shift == pytest.approx(0)


@pytest.mark.parametrize("rate", [12.5, 24, 30, 59.94, 90])
@pytest.mark.parametrize("phase", [0, 0.4, 0.9])
def test_the_frame_that_is_shown_is_near(rate, phase):
    paper = timing(frames=16, window=32)
    shown = slower_frames.slow_down(paper, rate, phase, from_onset=False)
    away = abs(paper.frames[shown.clip] - paper.frames)
    inside = slice(shown.kept[0], shown.kept[-1] + 1)
    assert away[inside].max() <= 0.5 / rate + 0.005 + 1e-9
    assert (np.diff(shown.clip) >= 0).all()
    assert set(shown.clip) == set(shown.kept)
    gaps = np.diff(paper.frames[shown.kept])
    assert abs(gaps - 1 / rate).max(initial=0) <= 0.01 + 1e-9


def rows(records):
    return {row["clip_id"].decode(): row for row in open_records(records)[1]}


def slower(records, clips, rate, indices, **flags):
    settings = config(**flags)
    return slower_clips.load(
        clips, [source(records)], settings, np.array(indices), rate
    )


@pytest.mark.parametrize("case", ["in memory", "of lazy clips", "too large"])
def test_clips_show_frames_of_their_records(records, case, monkeypatch):
    feed = "records" if case == "of lazy clips" else "device"
    clips = load(records, size=32, feed=feed)
    if case == "too large":
        monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * clips.inputs.nbytes)
    found = slower(records, clips, 40, [30, 4], size=32)
    assert isinstance(found.clips.inputs, LazyClips) == (case != "in memory")
    assert found.phases == 3 and len(found.clips) == 6
    assert found.clips.clip_ids == (clips.clip_ids[30], clips.clip_ids[4]) * 3
    assert found.clips.labels.tolist() == clips.labels[[30, 4] * 3].tolist()
    assert found.apex_shifts is None
    before, after = found.distinct
    assert after.shape == (3, 2) and (after < before).all() and (after >= 2).all()
    by_id = rows(records)
    for number, clip_id in enumerate(found.clips.clip_ids):
        row = by_id[clip_id]
        times = slower_frames.timing(
            config(), 200.0, *(int(row[n]) for n in ("onset", "apex", "offset"))
        )
        shown = slower_frames.slow_down(times, 40, number // 2 / 3, from_onset=False)
        expected = row["clip"][shown.clip]
        np.testing.assert_array_equal(found.clips.inputs[number], expected)
        assert after.reshape(-1)[number] == len({f.tobytes() for f in expected})


def test_an_interpolated_clip_is_interpolated_from_fewer_frames(records):
    clips = load(records, size=32)
    found = slower(records, clips, 15, [7], size=32, sampling="tim")
    row = rows(records)[clips.clip_ids[7]]
    numbers = (int(row[n]) for n in ("onset", "apex", "offset"))
    times = slower_frames.timing(config(sampling="tim"), 200.0, *numbers)
    kept = slower_frames.slow_down(times, 15, 0, from_onset=False).kept
    assert 2 <= len(kept) < 8
    expected = interpolate(row["clip"][kept], 8)
    np.testing.assert_array_equal(found.clips.inputs[0], expected)


@pytest.mark.parametrize("name", ["onset_apex_flow", "flow"])
def test_flow_is_that_of_the_frames_that_are_shown(records, name):
    network_input = registry.find(name)
    clips = load(records, network_input=network_input)
    found = slower(records, clips, 60, [3, 20], input=name)
    assert found.phases == 1  # the frame at the onset is one of both recordings
    changed = 0
    for place, index in enumerate((3, 20)):
        row = rows(records)[clips.clip_ids[index]]
        numbers = (int(row[n]) for n in ("onset", "apex", "offset"))
        times = slower_frames.timing(config(), 200.0, *numbers)
        shown = slower_frames.slow_down(times, 60, 0, from_onset=True)
        frames = row["clip"][shown.clip]
        if name == "onset_apex_flow":
            assert found.distinct is None
            assert found.apex_shifts[0, place] == shown.apex_shift
            frames = row["clip"][shown.apex][None]
        expected = convert_frames(
            np.concatenate([row["onset_frame"][None], frames]), 16, network_input, "dis"
        )
        np.testing.assert_array_equal(found.clips.inputs[place], expected)
        changed += not np.array_equal(expected, clips.inputs[index])
    assert changed


@pytest.mark.parametrize(
    ("rate", "flags", "message"),
    [
        (200, {}, "1 of 1 test clips were not recorded at more than 200 Hz.*below 200"),
        (150, {}, "Its result is that of the run. Choose a rate below 100 Hz"),
        (3, {}, "cover 70 ms, in which a recording at 3 Hz may have no frame"),
        (150, {"input": "onset_apex_flow"}, "10 ms apart.*Choose a rate below 100 Hz"),
        (60, {"input": "onset_apex_flow", "sampling": "tim"}, "interpolated ones"),
    ],
)
def test_rates_that_records_cannot_show_are_refused(
    records, clips, rate, flags, message
):
    with pytest.raises(UserError, match=message):
        slower(records, clips, rate, [0], **flags)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "The frame rate of 3 of 3 test clips is unknown .first: sub01/000"),
        ({"frame_rate": 0}, "The frame rate of 3 of 3 test clips is unknown"),
        (
            {"frame_rate": 200, "key_frames_only": 1},
            "3 of 3 test clips consist of the frames at onset, apex and offset alone",
        ),
    ],
)
def test_records_without_what_is_needed_are_refused(tmp_path, facts, message):
    rows = rows_of({"disgust": 2, "happiness": 1}, 3)
    folder = write_records(tmp_path, [row | facts for row in rows])
    classes = ("disgust", "happiness")
    network_input = registry.find("onset_apex_flow")
    clips = load(folder, classes=classes, network_input=network_input)
    with pytest.raises(UserError, match=message):
        slower(folder, clips, 30, [0, 1, 2], frames=2, input="onset_apex_flow")


def test_the_slowest_data_set_of_a_composite_is_named(tmp_path):
    rows = rows_of({"disgust": 2, "happiness": 1}, 3)
    sources = [
        source(
            write_records(
                tmp_path / name, [row | {"frame_rate": rate} for row in rows]
            ),
            name,
        )
        for name, rate in (("casme", 60), ("casme2", 200))
    ]
    clips = load(*sources, classes=("disgust", "happiness"))
    settings = config(dataset="casme,casme2", frames=2)
    with pytest.raises(
        UserError, match="3 of 6 test clips were not.*first: casme/sub01/000, 60 Hz"
    ):
        slower_clips.load(clips, sources, settings, np.arange(6), 80)


def test_without_onset_frames_the_first_frame_of_the_slower_clip_replaces_it(
    records, clips
):
    difference = registry.find("difference")
    stored = np.concatenate([clips.clips[:, :1], clips.clips], 1)
    without = dataclasses.replace(clips, stored=stored, first_as_onset=True)
    found = slower(records, without, 40, [5], input="difference")
    assert found.phases == 3 and difference.optional_onset
    for clip in found.clips.inputs:
        np.testing.assert_array_equal(clip[0], clip[1])
