import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from meranet_jax.data import loading, machine
from meranet_jax.errors import UserError
from tests.meranet_jax.loading import load, source


def test_load_keeps_what_was_recorded(records, clips):
    assert len(clips) == 36
    assert clips.clips.shape == (36, 8, 16, 16, 3)
    assert clips.clips.dtype == np.uint8
    assert list(clips.clip_ids) == sorted(clips.clip_ids)
    assert len(set(clips.subjects)) == 4
    by_id = {
        r["clip_id"].decode(): r
        for r in tfds.builder_from_directory(records).as_data_source(split="train")
    }
    for index in (0, 17, 35):
        clip_id = clips.clip_ids[index]
        recorded = by_id[clip_id]["clip"].astype(float)
        # Each pixel is the mean of a block of four.
        mean = (
            recorded[:, ::2, ::2]
            + recorded[:, 1::2, ::2]
            + recorded[:, ::2, 1::2]
            + recorded[:, 1::2, 1::2]
        ) / 4
        assert np.abs(clips.clips[index] - mean).max() <= 0.5
        assert clips.emotions[index] in clip_id
        assert list(clips.classes)[clips.labels[index]] == clips.emotions[index]


def test_classes_and_short_expressions_are_left_out_and_counted(records):
    some = load(
        source(records, min_frames=35), classes=("surprise", "disgust"), size=32
    )
    everything = tfds.builder_from_directory(records).as_data_source(split="train")
    lengths = [r["offset"] - r["onset"] + 1 for r in everything if r["emotion"] != 1]
    short = sum(length < 35 for length in lengths)
    assert 0 < short < 24
    assert some.left_out == {
        "happiness, not among the classes": 12,
        "fewer than 35 frames": short,
    }
    assert len(some) == 24 - short
    assert tuple(some.classes) == ("surprise", "disgust")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 24}, "--size=24.*32 x 32.*16, 32"),
        ({"min_frames": 999}, "No clip of disgust"),
        ({"folder": "nowhere"}, "No prepared records in nowhere"),
        ({"leave_out": ("s01/joy_1",)}, "--leave_out.*no clip s01/joy_1; s01/disg"),
    ],
)
def test_what_cannot_be_loaded_says_what_can(records, changes, message):
    options = {"folder": records, "min_frames": 1} | changes
    chosen = source(options.pop("folder"), min_frames=options.pop("min_frames"))
    with pytest.raises(UserError, match=message):
        load(chosen, **options)


def test_several_emotions_can_be_one_class(records):
    classes = {"still": ("surprise",), "other": ("happiness", "disgust")}
    both = load(records, classes=lambda emotions: classes)
    assert both.classes == classes
    assert np.bincount(both.labels).tolist() == [12, 24]


def test_clips_may_stay_in_their_records(records, clips, monkeypatch):
    left = load(records, feed="records")
    assert isinstance(left.clips, loading.Recorded)
    assert left.clips.shape == clips.clips.shape and len(left.clips) == 36
    np.testing.assert_array_equal(np.stack([*left.clips]), clips.clips)
    assert left.fingerprint() == clips.fingerprint()
    # By themselves they do where memory is short.
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    assert isinstance(load(records).clips, loading.Recorded)
    assert isinstance(load(records, feed="device").clips, np.ndarray)


def test_clips_are_left_out_by_id(records, clips):
    fewer = load(records, leave_out=(clips.clip_ids[3], clips.clip_ids[9]))
    assert len(fewer) == 34
    assert fewer.left_out == {"as --leave_out says": 2}


def test_data_sets_are_kept_apart_by_name(records, clips):
    """The same records under two names: twice the clips, twice the subjects."""
    two = load(
        source(records, "one"), source(records, "two/hard", min_frames=35), size=16
    )
    assert two.clip_ids[:36] == tuple(f"one/{clip}" for clip in clips.clip_ids)
    assert len(set(two.subjects)) == 8
    assert set(two.datasets) == {"one", "two/hard"}
    for index in (0, 35, len(two) - 1):
        name, _, clip_id = two.clip_ids[index].partition("/")
        assert two.datasets[index].startswith(name)
        assert two.subjects[index].startswith(name)
        there = clips.clip_ids.index(clip_id)
        np.testing.assert_array_equal(two.clips[index], clips.clips[there])
    (reason,) = two.left_out
    assert reason == "two: fewer than 35 frames"
    assert len(two) == 72 - two.left_out[reason]


def test_a_fingerprint_hangs_on_frames_labels_and_names(clips):
    frames = clips.clips.copy()
    frames[5, 1, 2, 3] ^= 1
    labels = clips.labels.copy()
    labels[0] = 2
    changed = [
        {"clips": frames},
        {"labels": labels},
        {"clip_ids": ("other", *clips.clip_ids[1:])},
        {"subjects": ("s02", *clips.subjects[1:])},
    ]
    prints = {dataclasses.replace(clips, **c).fingerprint() for c in changed}
    assert len(prints | {clips.fingerprint()}) == 5
    assert dataclasses.replace(clips).fingerprint() == clips.fingerprint()
