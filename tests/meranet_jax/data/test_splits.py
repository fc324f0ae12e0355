import dataclasses
import json

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.data.protocols import Fold
from meranet_jax.errors import UserError
from meranet_jax.runs.layout import fold_name
from tests.meranet_jax.loading import clips_of

CLIPS = clips_of([0, 1, 2] * 12, [f"s{n // 6}" for n in range(36)])


def make(clips=CLIPS, **options):
    return splits.make(TrainConfig(**options), clips)


def fold(train=(0, 1, 2), validation=(6, 7, 8), test=(12, 13, 14), name="x"):
    return Fold(name, *(np.array(part, int) for part in (train, validation, test)))


def check(clips=CLIPS, protocol="holdout_subject", **parts):
    splits.check({0: [fold(**parts)]}, clips, protocol)


def write(tmp_path, split, protocol="loso"):
    path = tmp_path / "split.json"
    path.write_text(splits.to_json(split, CLIPS, protocol))
    return str(path)


def same(one, other):
    return splits.to_json(one, CLIPS, "x") == splits.to_json(other, CLIPS, "x")


@pytest.mark.parametrize("protocol", ["holdout", "holdout_subject", "kfold", "loso"])
def test_splits_of_every_protocol_pass_checks_and_round_trip(tmp_path, protocol):
    options = {"protocol": protocol, "folds": 3, "seeds": "2"}
    split = make(**options)
    assert list(split) == [0, 1]
    path = write(tmp_path, split, protocol)
    assert same(make(**options, split=path), split)
    number = {"kfold": 3, "loso": 6}.get(protocol, 1)
    jobs = splits.jobs(split)
    assert [(job.seed, job.number) for job in jobs] == [
        (seed, index) for seed in (0, 1) for index in range(number)
    ]
    assert len({fold_name(job) for job in jobs}) == len(jobs)


def test_split_refers_to_clips_by_id(tmp_path):
    split = make(protocol="loso")
    order = np.random.default_rng(0).permutation(36)
    shuffled = dataclasses.replace(
        CLIPS,
        clips=CLIPS.clips[order],
        labels=CLIPS.labels[order],
        clip_ids=tuple(CLIPS.clip_ids[i] for i in order),
        subjects=tuple(CLIPS.subjects[i] for i in order),
    )
    given = make(shuffled, protocol="loso", split=write(tmp_path, split))
    assert splits.to_json(given, shuffled, "loso") == splits.to_json(
        split, CLIPS, "loso"
    )


def test_split_of_one_seed_is_used_for_all_seeds(tmp_path):
    split = make(protocol="kfold", seed=7)
    given = make(protocol="kfold", seeds="3", split=write(tmp_path, split, "kfold"))
    assert list(given) == [0, 1, 2]
    for seed in given:
        assert same({7: given[seed]}, split)


def test_seeds_select_from_a_split_of_several_seeds(tmp_path):
    split = make(protocol="kfold", seeds="4")
    path = write(tmp_path, split, "kfold")
    given = make(protocol="kfold", seeds="3,1", split=path)
    assert same(given, {3: split[3], 1: split[1]})
    with pytest.raises(UserError, match="no split for seed 4. It has 0, 1, 2, 3"):
        make(protocol="kfold", seeds="2,4", split=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a split"),
        ("[]", "is not a split"),
        ('{"protocol": "loso", "seeds": {}}', "has no fold"),
        ('{"protocol": "loso", "seeds": {"a": []}}', "is not a split"),
        ('{"protocol": "loso", "seeds": {"0": [{"name": "x"}]}}', "is not a split"),
        (None, "is a split of --protocol=loso, not of holdout. Set --protocol=loso"),
    ],
)
def test_malformed_split_is_refused(tmp_path, text, message):
    path = write(tmp_path, make(protocol="loso"))
    if text is not None:
        (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError, match=message):
        make(split=path)


def test_split_of_other_clips_is_refused(tmp_path):
    path = write(tmp_path, make(protocol="loso"))
    text = (tmp_path / "split.json").read_text().replace("clip035", "sub99/EP01")
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError, match="names 1 clips.*for example sub99/EP01"):
        make(protocol="loso", split=path)
    with pytest.raises(UserError, match="Cannot read --split=nowhere"):
        make(protocol="loso", split="nowhere")


def test_empty_part_is_refused(tmp_path):
    path = write(tmp_path, {0: [fold(validation=())]})
    with pytest.raises(UserError, match="a part is empty"):
        make(protocol="loso", split=path)


def test_folds_with_the_same_name_are_refused(tmp_path):
    path = write(tmp_path, {0: [fold(), fold(test=(15,))]})
    with pytest.raises(UserError, match="two folds have the same name"):
        make(protocol="loso", split=path)


def test_clip_in_two_parts_is_a_leak():
    with pytest.raises(UserError, match="clip012 is in train and in test"):
        check(train=(0, 1, 12), protocol="holdout")


def test_clip_twice_in_a_part_is_refused():
    with pytest.raises(UserError, match="clip012 is in test and in test"):
        check(test=(12, 12), protocol="holdout")


def test_clip_tested_in_two_folds_is_refused():
    folds = [fold(name="x"), fold(name="y")]
    with pytest.raises(
        UserError, match="clip012 is in the test parts of 2 folds of seed 0"
    ):
        splits.check({0: folds}, CLIPS, "kfold")
    splits.check({0: folds[:1], 1: folds[1:]}, CLIPS, "holdout_subject")


def test_split_must_follow_its_protocol():
    """Otherwise the report would name the wrong protocol."""
    made = make(protocol="loso")[0]
    with pytest.raises(
        UserError, match="loso tests every clip once, but 6 clips are not"
    ):
        splits.check({0: made[1:]}, CLIPS, "loso")
    with pytest.raises(UserError, match="kfold tests every clip once"):
        splits.check({0: made[1:]}, CLIPS, "kfold")
    (one, other), rest = made[:2], made[2:]
    both = np.concatenate([one.test, other.test])
    pair = dataclasses.replace(
        one,
        test=both,
        train=np.setdiff1d(one.train, both),
        validation=np.setdiff1d(one.validation, both),
    )
    with pytest.raises(
        UserError, match="one subject in each fold, but fold s0 .* tests s0, s1"
    ):
        splits.check({0: [pair, *rest]}, CLIPS, "loso")
    splits.check({0: [pair, *rest]}, CLIPS, "kfold")
    with pytest.raises(UserError, match="holdout_subject has one fold, but .* has 6"):
        splits.check({0: made}, CLIPS, "holdout_subject")


@pytest.mark.parametrize("protocol", ["holdout_subject", "kfold", "loso"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": (0, 1, 15)}, r"s2 .* train \(clip015\) and in test \(clip012\)"),
        (
            {"validation": (6, 3)},
            r"s0 .* train \(clip000\) and in validation \(clip003\)",
        ),
    ],
)
def test_subject_in_two_parts_is_a_leak(protocol, parts, message):
    with pytest.raises(UserError, match=f"the subject {message}"):
        check(protocol=protocol, **parts)
    check(protocol="holdout", **parts)  # the paper's, which is not subject-disjoint


def filmed(copies=(), *, frames=8):
    """Returns clips of noise; ``copies``: (to, from, number of frames) of copies."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (36, frames, 4, 4, 3), np.uint8)
    for to, origin, number in copies:
        pictures[to, -number:] = pictures[origin, :number]
    return dataclasses.replace(CLIPS, clips=pictures)


@pytest.mark.parametrize("protocol", ["holdout", "holdout_subject"])
@pytest.mark.parametrize("shared", [8, 4])
def test_duplicate_in_another_part_is_a_leak(protocol, shared):
    clips = filmed([(13, 2, shared)])
    message = (
        f"clip002 in train and clip013 in test are duplicates .*share {shared} of 8.*"
        "--leave_out=clip013"
    )
    with pytest.raises(UserError, match=message):
        check(clips, protocol=protocol)
    check(clips, protocol=protocol, test=(12, 14))  # not in this fold
    check(
        clips, protocol="holdout", train=(0, 1, 2, 13), test=(12,)
    )  # in the same part


def test_clips_that_share_few_frames_are_no_duplicates():
    check(filmed([(13, 2, 3)]))


def test_repeated_frames_count_once():
    """Short clips are filled by repeating a frame, which then counts once."""
    clips = filmed()
    clips.clips[2, 1:] = clips.clips[2, :1]  # two frames, one of them shared
    clips.clips[2, 0] = clips.clips[13, 5]
    with pytest.raises(UserError, match="share 1 of 2 frames"):
        check(clips)


def test_missing_classes_of_a_training_part():
    assert splits.missing_classes(fold(train=(0, 3, 6)), CLIPS) == ["b", "c"]
    assert splits.missing_classes(fold(), CLIPS) == []


def test_split_json_contains_names_and_ids(tmp_path):
    read = json.loads(splits.to_json(make(protocol="loso"), CLIPS, "loso"))
    assert read["protocol"] == "loso"
    first = read["seeds"]["0"][0]
    assert first["name"] == "s0"
    assert first["test"] == [f"clip00{n}" for n in range(6)]


def test_training_parts_are_limited_to_subjects_and_clips():
    options = {"protocol": "loso", "seed": 3}
    complete = make(**options)[3]
    subjects = np.array(CLIPS.subjects)
    before: dict[str, set] = {}
    for number in (1, 2, 3):
        limited = make(**options, train_subjects=number, train_clips=number)[3]
        for fold, whole in zip(limited, complete, strict=True):
            assert set(fold.train) <= set(whole.train)
            assert np.array_equal(fold.test, whole.test)
            assert np.array_equal(fold.validation, whole.validation)
            names, counts = np.unique(subjects[fold.train], return_counts=True)
            assert len(names) == number
            for name, count in zip(names, counts, strict=True):
                assert count == min(number, (subjects[whole.train] == name).sum())
            assert before.get(fold.name, set()) <= set(fold.train)
            before[fold.name] = set(fold.train)
    all_clips = make(**options, train_subjects=2)[3]
    for fold, whole in zip(all_clips, complete, strict=True):
        kept = np.isin(subjects[whole.train], subjects[fold.train])
        assert np.array_equal(fold.train, whole.train[kept])


def test_more_training_subjects_than_there_are_raise():
    with pytest.raises(UserError, match=r"--train_subjects=99.* has \d+ subjects"):
        make(protocol="loso", train_subjects=99)
