import collections
import dataclasses
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow_datasets as tfds

from meranet_jax import cores
from meranet_jax.data import digests, loading, machine, source_records, splits
from meranet_jax.errors import UserError
from tests.meranet_jax.loading import first_fingerprint, load, source


def test_load_returns_the_recorded_clips(records, clips):
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
        # Each pixel is the mean of a block of 2 x 2.
        mean = (
            recorded[:, ::2, ::2]
            + recorded[:, 1::2, ::2]
            + recorded[:, ::2, 1::2]
            + recorded[:, 1::2, 1::2]
        ) / 4
        assert np.abs(clips.clips[index] - mean).max() <= 0.5
        assert clips.emotions[index] in clip_id
        assert list(clips.classes)[clips.labels[index]] == clips.emotions[index]


def test_left_out_classes_and_short_expressions_are_counted(records):
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
        ({"min_frames": 999}, "There is no clip of disgust"),
        ({"folder": "nowhere"}, "No prepared records in nowhere"),
        (
            {"leave_out": ("s01/joy_1",)},
            "--leave_out.*no clip s01/joy_1. .* as s01/disg",
        ),
    ],
)
def test_invalid_arguments_are_refused(records, changes, message):
    options = {"folder": records, "min_frames": 1} | changes
    one = source(options.pop("folder"), min_frames=options.pop("min_frames"))
    with pytest.raises(UserError, match=message):
        load(one, **options)


def test_class_of_several_emotions(records):
    classes = {"surprise": ("surprise",), "other": ("happiness", "disgust")}
    loaded = load(records, classes=lambda emotions: classes)
    assert loaded.classes == classes
    assert np.bincount(loaded.labels).tolist() == [12, 24]


def test_clips_can_be_read_at_each_access(records, clips, monkeypatch):
    lazy = load(records, feed="records")
    assert isinstance(lazy.clips, loading.LazyClips)
    assert lazy.clips.shape == clips.clips.shape and len(lazy.clips) == 36
    np.testing.assert_array_equal(np.stack([*lazy.clips]), clips.clips)
    assert lazy.fingerprint() == clips.fingerprint()
    # This is the default if memory is short.
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    assert isinstance(load(records).clips, loading.LazyClips)
    assert isinstance(load(records, feed="device").clips, np.ndarray)


def test_clips_are_left_out_by_id(records, clips):
    fewer = load(records, leave_out=(clips.clip_ids[3], clips.clip_ids[9]))
    assert len(fewer) == 34
    assert fewer.left_out == {"as --leave_out says": 2}


def test_ids_and_subjects_are_prefixed_by_the_data_set(records, clips):
    """The same records as two data sets: twice the clips, twice the subjects."""
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
        original = clips.clip_ids.index(clip_id)
        np.testing.assert_array_equal(two.clips[index], clips.clips[original])
    (reason,) = two.left_out
    assert reason == "two: fewer than 35 frames"
    assert len(two) == 72 - two.left_out[reason]


def test_fingerprint_depends_on_frames_labels_and_names(clips):
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
    """Rows of a data source that call a function with each index that is read."""

    def __init__(self, rows, on_read):
        self._rows, self._on_read = rows, on_read

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        self._on_read(index)
        return self._rows[index]


@pytest.fixture
def reading(monkeypatch):
    """Returns a function that registers a callback for each record that is read.

    The callback gets the folder and the index of the record.
    """

    def register(function):
        def opened(folder):
            info, rows = open_records(folder)
            return info, Rows(rows, lambda index: function(folder, index))

        monkeypatch.setattr(source_records, "open_records", opened)

    open_records = source_records.open_records
    return register


@pytest.fixture
def eight_threads(monkeypatch):
    """Tasks of one record, on eight threads."""
    monkeypatch.setattr(cores, "count", lambda: 8)
    monkeypatch.setattr(source_records, "_RECORDS_PER_TASK", 1)


@pytest.mark.parametrize("feed", ["device", "records", "auto"])
def test_each_record_is_read_once(records, clips, reading, feed):
    reads = collections.Counter()
    reading(lambda folder, index: reads.update([index]))
    loaded = load(records, feed=feed)
    assert splits.find_duplicates(loaded) == []
    assert loaded.fingerprint() == clips.fingerprint()
    assert loaded.has_fingerprint(clips.fingerprint())
    assert reads == dict.fromkeys(range(36), 1)
    np.testing.assert_array_equal(loaded.clips[7], clips.clips[7])
    assert reads.total() == (37 if feed == "records" else 36)


def test_each_record_of_several_data_sets_is_read_once(records, reading):
    reads = collections.Counter()
    reading(lambda folder, index: reads.update([(str(folder), index)]))
    load(source(records, "one"), source(records, "two", min_frames=35), feed="records")
    # Both data sets are in the same folder.
    assert set(reads.values()) == {2} and reads.total() == 72


@pytest.mark.parametrize("size", [16, 32])
def test_loaded_clips_are_ordered_by_id(records, size, reading, eight_threads):
    """Records are unordered, left out for each reason, and read in random order."""
    sources = source(records, "z", min_frames=35), source(records, "a")
    options = {"classes": ("surprise", "disgust"), "size": size}
    options["leave_out"] = ("z/s03/surprise_1", "a/s01/disgust_2", "a/s04/surprise_3")
    expected = load(*sources, feed="records", **options)
    rng = np.random.default_rng(0)
    reading(lambda folder, index: time.sleep(rng.uniform(0, 0.01)))
    for feed in ("device", "records"):
        loaded = load(*sources, feed=feed, **options)
        assert list(loaded.clip_ids) == sorted(loaded.clip_ids)
        for field in ("clip_ids", "subjects", "datasets", "emotions", "left_out"):
            assert getattr(loaded, field) == getattr(expected, field)
        np.testing.assert_array_equal(loaded.labels, expected.labels)
        np.testing.assert_array_equal(loaded.clips, np.stack([*expected.clips]))
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


def test_clips_are_reordered_in_place():
    rng = np.random.default_rng(0)
    for kept in (1, 2, 50, 199, 200):
        clips = rng.integers(0, 256, (200, 4, 32, 32, 3), np.uint8)
        order = rng.permutation(200)[:kept].astype(int)
        expected = clips[order]
        tracemalloc.start()
        taken = loading._take_in_place(clips, order)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_array_equal(taken, expected)
        # The shortened array, which is traced from then on, a clip and the indices.
        assert peak < (kept + 5) * expected[0].nbytes
        assert taken is clips and clips.base is None
        assert clips.nbytes == expected.nbytes


def test_required_memory_includes_clips_that_are_left_out(records, monkeypatch):
    """Memory is allocated before it is known which clips are left out."""
    one = 8 * 16 * 16 * 3
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * 36 * one)
    assert isinstance(load(records, classes=("disgust",)).clips, np.ndarray)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * 36 * one - 1)
    assert isinstance(load(records, classes=("disgust",)).clips, loading.LazyClips)


def test_digests_are_not_copied_to_other_clips(clips):
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


def test_clip_digest_depends_on_the_order_of_frames():
    clip = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)
    one, other = digests.digest_of(clip), digests.digest_of(clip[::-1])
    assert one.frames == other.frames and len(one.frames) == 4
    assert one.clip != other.clip
    still = digests.digest_of(np.repeat(clip[:1], 4, axis=0))
    assert len(still.frames) == 1


def test_fingerprint_of_the_first_version_is_recognised(records, clips):
    old = first_fingerprint(clips)
    changed = dataclasses.replace(clips, subjects=("s02", *clips.subjects[1:]))
    for same in (clips, load(records, feed="records")):
        assert same.has_fingerprint(old) and same.has_fingerprint(same.fingerprint())
        assert not same.has_fingerprint(first_fingerprint(changed))
        for other in (changed.fingerprint(), f"2:{old}", f"3:{old}", "", None, 7):
            assert not same.has_fingerprint(other)
