import dataclasses

import numpy as np
import pytest

from meranet_jax import protocols
from meranet_jax.data import Clips
from meranet_jax.errors import UserError


def clips_of(*counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    ids = tuple(f"clip{i}" for i in range(len(labels)))
    classes = tuple("abcdef"[: len(counts)])
    return Clips(np.zeros((len(ids), 1, 1, 1, 3)), labels, ids, ids, classes, {})


def holdout(clips, **changes):
    options = {"test_fraction": 0.25, "validation_fraction": 0.2, "seed": 0}
    return protocols.holdout(clips, **options | changes)


def test_parts_are_stratified_disjoint_and_whole():
    clips = clips_of(63, 32, 28)  # CASME II
    fold = holdout(clips)
    parts = [fold.train, fold.validation, fold.test]
    assert sorted(np.concatenate(parts)) == list(range(123))
    counts = [np.bincount(clips.labels[part]).tolist() for part in parts]
    # a: 63 -> 16 test, 47 left -> 9 validation. b: 8, 24 -> 5. c: 7, 21 -> 4.
    assert counts == [[38, 19, 17], [9, 5, 4], [16, 8, 7]]


def test_a_split_hangs_on_its_seed_alone():
    clips = clips_of(20, 20)
    assert np.array_equal(holdout(clips).test, holdout(clips).test)
    assert not np.array_equal(holdout(clips).test, holdout(clips, seed=1).test)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_each_part_gets_a_clip_of_each_class(fraction):
    clips = clips_of(3, 5)
    fold = holdout(clips, test_fraction=fraction, validation_fraction=fraction)
    for part in vars(fold).values():
        assert set(clips.labels[part]) == {0, 1}


def test_a_class_too_small_to_split_is_named():
    with pytest.raises(UserError, match="b has 2 clips.*--classes"):
        holdout(clips_of(10, 2))


def test_a_split_survives_being_written_by_id():
    clips = clips_of(10, 12)
    fold = holdout(clips)
    split = protocols.to_ids(fold, clips)
    # The same records in another order.
    order = np.random.default_rng(0).permutation(len(clips))
    shuffled = dataclasses.replace(
        clips,
        labels=clips.labels[order],
        clip_ids=tuple(clips.clip_ids[i] for i in order),
    )
    again = protocols.from_ids(split, shuffled)
    assert protocols.to_ids(again, shuffled) == split


def test_a_split_of_other_records_is_refused():
    clips = clips_of(10, 12)
    split = protocols.to_ids(holdout(clips), clips)
    split["test"].append("sub99/EP01")
    with pytest.raises(UserError, match="1 clips.*sub99/EP01"):
        protocols.from_ids(split, clips)
