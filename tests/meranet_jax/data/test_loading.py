import collections
import dataclasses
import os
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow_datasets as tfds

from meranet_jax.data import digests, loading, machine, splits
from meranet_jax.errors import UserError
from tests.meranet_jax.loading import first_fingerprint, load, source


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


class Rows:
    """The rows of a data source; ``read`` gets the index of each that is asked for."""

    def __init__(self, rows, read):
        self._rows, self._read = rows, read

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        self._read(index)
        return self._rows[index]


@pytest.fixture
def reading(monkeypatch):
    """Calls a function with the folder and the index of each record that is read."""

    def watch(function):
        def opened(folder):
            info, rows = open_records(folder)
            return info, Rows(rows, lambda index: function(folder, index))

        monkeypatch.setattr(loading, "open_records", opened)

    open_records = loading.open_records
    return watch


@pytest.fixture
def eight_threads(monkeypatch):
    """One record a task, eight at a time."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(loading, "_TASK", 1)


@pytest.mark.parametrize("feed", ["device", "records", "auto"])
def test_each_record_is_read_once(records, clips, reading, feed):
    reads = collections.Counter()
    reading(lambda folder, index: reads.update([index]))
    loaded = load(records, feed=feed)
    assert splits.duplicates(loaded) == []
    assert loaded.fingerprint() == clips.fingerprint()
    assert loaded.has_fingerprint(clips.fingerprint())
    assert reads == dict.fromkeys(range(36), 1)
    np.testing.assert_array_equal(loaded.clips[7], clips.clips[7])
    assert reads.total() == (37 if feed == "records" else 36)


def test_each_record_of_several_data_sets_is_read_once(records, reading):
    reads = collections.Counter()
    reading(lambda folder, index: reads.update([(str(folder), index)]))
    load(source(records, "one"), source(records, "two", min_frames=35), feed="records")
    # It is the same folder.
    assert set(reads.values()) == {2} and reads.total() == 72


@pytest.mark.parametrize("size", [16, 32])
def test_resident_clips_are_those_of_the_records_in_the_order_of_their_ids(
    records, size, reading, eight_threads
):
    """Out of order, left out in each way, and read in an order of chance."""
    sources = source(records, "z", min_frames=35), source(records, "a")
    choice = {"classes": ("surprise", "disgust"), "size": size}
    choice["leave_out"] = ("z/s03/surprise_1", "a/s01/disgust_2", "a/s04/surprise_3")
    straight = load(*sources, feed="records", **choice)
    rng = np.random.default_rng(0)
    reading(lambda folder, index: time.sleep(rng.uniform(0, 0.01)))
    for feed in ("device", "records"):
        loaded = load(*sources, feed=feed, **choice)
        assert list(loaded.clip_ids) == sorted(loaded.clip_ids)
        for field in ("clip_ids", "subjects", "datasets", "emotions", "left_out"):
            assert getattr(loaded, field) == getattr(straight, field)
        np.testing.assert_array_equal(loaded.labels, straight.labels)
        np.testing.assert_array_equal(loaded.clips, np.stack([*straight.clips]))
        assert loaded.digests == tuple(map(digests.digest_of, loaded.clips))
    assert loaded.left_out["a: as --leave_out says"] == 2
    assert loaded.left_out["z: fewer than 35 frames"] > 0


def test_the_first_damaged_record_is_reported(records, reading, eight_threads):
    def damaged(folder, index):
        if index in (5, 6, 30):
            time.sleep(0.2 if index == 5 else 0)
            raise OSError(f"record {index}")

    reading(damaged)
    with pytest.raises(UserError, match=f"records in {records} are .*: record 5"):
        load(records)


def test_clips_are_put_in_order_without_a_second_copy():
    rng = np.random.default_rng(0)
    for kept in (1, 2, 50, 199, 200):
        clips = rng.integers(0, 256, (200, 4, 32, 32, 3), np.uint8)
        order = rng.permutation(200)[:kept].astype(int)
        wanted = clips[order]
        tracemalloc.start()
        taken = loading._take(clips, order)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_array_equal(taken, wanted)
        # The shortened array, which was not traced before, a clip and the indices.
        assert peak < (kept + 5) * wanted[0].nbytes
        assert taken is clips and clips.base is None and clips.nbytes == wanted.nbytes


def test_room_is_reckoned_with_the_clips_that_are_left_out(records, monkeypatch):
    """Since it must be known before they are."""
    one = 8 * 16 * 16 * 3
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * 36 * one)
    assert isinstance(load(records, classes=("disgust",)).clips, np.ndarray)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * 36 * one - 1)
    assert isinstance(load(records, classes=("disgust",)).clips, loading.Recorded)


def test_digests_do_not_outlive_the_clips_that_they_are_of(clips):
    assert clips.digests == tuple(map(digests.digest_of, clips.clips))
    frames = clips.clips.copy()
    frames[5, 1, 2, 3] ^= 1
    changed = dataclasses.replace(clips, clips=frames)
    differing = [
        index
        for index, (one, other) in enumerate(
            zip(clips.digests, changed.digests, strict=True)
        )
        if one != other
    ]
    assert differing == [5]
    assert len(clips.digests[5].frames & changed.digests[5].frames) == 7
    fewer = dataclasses.replace(clips, clips=clips.clips[:3])
    assert fewer.digests == clips.digests[:3]


def test_frames_in_another_order_are_another_clip():
    clip = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)
    one, other = digests.digest_of(clip), digests.digest_of(clip[::-1])
    assert one.frames == other.frames and len(one.frames) == 4
    assert one.clip != other.clip
    still = digests.digest_of(np.repeat(clip[:1], 4, axis=0))
    assert len(still.frames) == 1


def test_a_fingerprint_of_the_first_version_is_known(records, clips):
    old = first_fingerprint(clips)
    changed = dataclasses.replace(clips, subjects=("s02", *clips.subjects[1:]))
    for same in (clips, load(records, feed="records")):
        assert same.has_fingerprint(old) and same.has_fingerprint(same.fingerprint())
        assert not same.has_fingerprint(first_fingerprint(changed))
        for other in (changed.fingerprint(), f"2:{old}", f"3:{old}", "", None, 7):
            assert not same.has_fingerprint(other)
