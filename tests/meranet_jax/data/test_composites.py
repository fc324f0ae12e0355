"""Class sets and protocols of several data sets, on records of noise."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from meranet_jax import recipes
from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.errors import UserError
from meranet_jax.runs import composite_text, writer
from meranet_jax.runs.train_run import load_clips
from tests.meranet_jax.records import casme2_rows, rows_of, write_records

# Published numbers of expressions by emotion.
SMIC = {"negative": 70, "positive": 51, "surprise": 43}
SAMM = {
    **{"anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12},
    **{"disgust": 9, "fear": 8, "sadness": 6},
}
CASME = {"tense": 6, "disgust": 5, "repression": 4, "surprise": 3, "sadness": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of the records of each data set."""
    rows = {
        "casme2": casme2_rows(),
        "smic": rows_of(SMIC, 16),
        # Subject 25 has only expressions that are "others".
        "samm": rows_of(SAMM, 29, only_others=(25,)),
        "casme": rows_of(CASME, 4),
        "mylab": [
            row | {"objective_class": index % 8}
            for index, row in enumerate(rows_of({"disgust": 20, "surprise": 28}, 6))
        ],
    }
    return {
        name: write_records(tmp_path_factory.mktemp(name), of_name)
        for name, of_name in rows.items()
    }


@pytest.fixture(scope="module")
def load(folders):
    """Loads the clips of a run as train.py does."""

    def load(**flags):
        config = TrainConfig.from_flags(**{"size": 16, "frames": 2} | flags)
        _, clips = load_clips(config, lambda one: folders[one.dataset])
        return clips

    return load


@pytest.fixture(scope="module")
def three(load):
    """The composite data set of MEGC 2019."""
    return load(dataset="casme2,smic,samm", classes="megc3")


def counts(clips):
    return dict(zip(clips.classes, np.bincount(clips.labels).tolist(), strict=True))


def test_the_composite_has_the_442_clips_of_megc_2019(three):
    assert len(three) == 442
    subjects = collections.Counter(s.partition("/")[0] for s in {*three.subjects})
    assert subjects == {"casme2": 24, "smic": 16, "samm": 28}  # 68 in all
    assert "samm/sub25" not in three.subjects
    assert counts(three) == {"negative": 250, "positive": 109, "surprise": 83}
    assert three.megc2019 == {
        "casme2": {"negative": 88, "positive": 32, "surprise": 25},
        "smic": SMIC,
        "samm": {"negative": 92, "positive": 26, "surprise": 15},
    }
    assert three.left_out == {
        "casme2: others, not in MEGC 2019": 99,
        "casme2: sadness, not in MEGC 2019": 4,
        "casme2: fear, not in MEGC 2019": 2,
        "casme2: surprise, but sadness in the table that MEGC 2019 used": 3,
        "casme2: no apex in the table, not in MEGC 2019": 1,
        "casme2: apex at the onset, not in MEGC 2019": 1,
        "samm: others, not in MEGC 2019": 26,
    }
    lines = composite_text.megc2019_lines(writer.describe_clips(three))
    assert lines[2] == (
        "samm: all 133 clips of MEGC 2019 (negative 92, positive 26, surprise 15)"
    )


@pytest.mark.parametrize(
    ("dataset", "negative"), [("casme2", 88), ("smic", 70), ("samm", 92)]
)
def test_each_data_set_alone_has_its_part(load, three, dataset, negative):
    clips = load(dataset=dataset, classes="megc3")
    assert counts(clips)["negative"] == negative
    prefixed = {f"{dataset}/{clip}" for clip in clips.clip_ids}
    assert prefixed == {clip for clip in three.clip_ids if clip.startswith(dataset)}


def test_other_data_sets_keep_the_general_rule(load):
    clips = load(dataset="casme2,casme", classes="megc3")
    # happiness is in CASME II only, tense in CASME only, sadness counts in CASME.
    assert clips.classes["negative"] == ("disgust", "repression", "sadness", "tense")
    assert sum(name == "casme" for name in clips.datasets) == 20
    assert clips.megc2019.keys() == {"casme2"}


def test_other_cameras_of_smic_and_other_classes_have_no_rule(load):
    assert load(dataset="smic", classes="megc3", camera="VIS").megc2019 == {}
    clips = load(dataset="casme2", classes="all")
    assert len(clips) == 255 and clips.left_out == {}


def test_objective_classes_are_those_of_the_field_of_the_records(load):
    clips = load(dataset="mylab", classes="objective")
    assert counts(clips) == dict.fromkeys(("I", "II", "III", "IV", "V"), 6)
    assert clips.left_out == {
        "objective class unknown, not among the classes": 6,
        "VI, not among the classes": 6,
        "VII, not among the classes": 6,
    }


def test_named_classes_are_those_of_the_data_set(load):
    clips = load(dataset="samm", classes="emotions5")
    assert counts(clips) == {
        name: SAMM[name] for name in recipes.NAMED_CLASSES["emotions5"]["samm"]
    }
    assert len(clips) == 136
    clips = load(dataset="casme2", classes="emotions5")
    assert len(clips) == 249 and "fear, not among the classes" in clips.left_out
    clips = load(dataset="casme", classes="emotions4")
    assert counts(clips) == {e: n for e, n in CASME.items() if e != "sadness"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"dataset": "casme", "classes": "emotions5"},
            "casme has no classes of this name.*casme2: disgust.*samm: anger",
        ),
        (
            {"dataset": "casme2,samm", "classes": "emotions5"},
            "the classes of casme2 and samm differ.*Choose megc3",
        ),
        (
            {"dataset": "samm", "classes": "objective"},
            r"have no objective classes \(field objective_class\)",
        ),
        (
            {"dataset": "mylab", "classes": "objective", "label": "estimated_emotion"},
            "Leave out --label=estimated_emotion",
        ),
    ],
)
def test_class_sets_that_a_data_set_does_not_have_are_refused(load, flags, message):
    with pytest.raises(UserError, match=message):
        load(**flags)


def make(clips, **flags):
    config = TrainConfig.from_flags(dataset="casme2,smic,samm", **flags)
    splits.check_settings(config)
    return splits.make(config, clips)


def test_lodo_tests_each_data_set_once(three):
    (folds,) = make(three, protocol="lodo").values()
    datasets = np.array(three.datasets)
    assert [fold.name for fold in folds] == ["casme2", "samm", "smic"]
    for fold in folds:
        assert set(datasets[fold.test]) == {fold.name}
        assert (datasets == fold.name).sum() == len(fold.test)
        fitted = np.concatenate([fold.train, fold.validation])
        assert len(fitted) + len(fold.test) == 442
        share = len(fold.validation) / len(fitted)
        assert share == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    "flags",
    [
        {"train_datasets": "smic, casme2"},
        {"test_datasets": "samm"},
        {"train_datasets": "casme2,smic", "test_datasets": "samm"},
    ],
)
def test_cross_dataset_tests_the_named_data_sets(three, flags):
    ((fold,),) = make(three, protocol="cross_dataset", **flags).values()
    datasets = np.array(three.datasets)
    assert fold.name == "samm" and set(datasets[fold.test]) == {"samm"}
    assert len(fold.test) == 133 and len(fold.train) + len(fold.validation) == 309
    subjects = np.array(three.subjects)
    assert not set(subjects[fold.train]) & set(subjects[fold.validation])


@pytest.mark.parametrize("protocol", ["lodo", "cross_dataset"])
def test_splits_are_saved_and_read_with_several_seeds(three, tmp_path, protocol):
    flags = {"protocol": protocol, "seeds": "2"}
    if protocol == "cross_dataset":
        flags["test_datasets"] = "samm,smic"
    split = make(three, **flags)
    text = splits.to_json(split, three, protocol)
    path = tmp_path / "split.json"
    path.write_text(text)
    again = make(three, **flags, split=str(path))
    assert splits.to_json(again, three, protocol) == text
    # A clip of a tested data set among those of the training
    saved = json.loads(text)
    fold = saved["seeds"]["0"][0]
    fold["train"].append(fold["test"].pop())
    path.write_text(json.dumps(saved))
    with pytest.raises(UserError, match="Leak|trains on no clip of a tested data set"):
        make(three, **flags, split=str(path))


def test_a_split_must_test_complete_data_sets(three):
    (folds,) = make(three, protocol="lodo").values()
    half = dataclasses.replace(folds[0], test=folds[0].test[::2])
    rest = dataclasses.replace(folds[0], name="rest", test=folds[0].test[1::2])
    with pytest.raises(UserError, match="tests 73 of the 145 clips of casme2"):
        splits.check({0: [half, rest, *folds[1:]]}, three, "lodo")
    flags = {"protocol": "cross_dataset", "test_datasets": "casme2,samm"}
    ((joined,),) = make(three, **flags).values()
    with pytest.raises(UserError, match="lodo tests one data set.* casme2, samm"):
        splits.check({0: [joined, folds[2]]}, three, "lodo")


def test_a_split_across_data_sets_must_test_all_clips(three, tmp_path):
    flags = {"protocol": "cross_dataset", "test_datasets": "samm"}
    saved = json.loads(splits.to_json(make(three, **flags), three, "cross_dataset"))
    (fold,) = saved["seeds"]["0"]
    untested = sorted(fold["test"])[1::2]
    fold["test"] = sorted(fold["test"])[::2]
    path = tmp_path / "split.json"
    path.write_text(json.dumps(saved))
    message = f"tests 67 of the 133 clips of samm, and not.*{untested[0]}"
    with pytest.raises(UserError, match=message):
        make(three, **flags, split=str(path))
    # Training clips may be fewer.
    fold["test"] += untested
    fold["train"] = fold["train"][::2]
    path.write_text(json.dumps(saved))
    ((again,),) = make(three, **flags, split=str(path)).values()
    assert len(again.test) == 133


def test_a_split_of_other_data_sets_is_refused(three, tmp_path):
    split = make(three, protocol="cross_dataset", test_datasets="samm")
    path = tmp_path / "split.json"
    path.write_text(splits.to_json(split, three, "cross_dataset"))
    with pytest.raises(UserError, match="tests samm, not smic. Set --test_datasets=sa"):
        make(three, protocol="cross_dataset", test_datasets="smic", split=str(path))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "say with --test_datasets which data sets"),
        ({"test_datasets": "mmew"}, "'mmew' is not one of .*: casme2, smic, samm"),
        (
            {"train_datasets": "smic", "test_datasets": "samm"},
            "casme2 is in neither. Leave it out of --dataset",
        ),
        ({"train_datasets": "smic", "test_datasets": "smic"}, "has smic twice"),
        ({"test_datasets": "casme2,smic,samm"}, "all data sets .* are tested"),
        ({"train_datasets": "casme2,smic,samm"}, "all data sets .* are trained on"),
        (
            {"protocol": "lodo", "test_datasets": "samm"},
            "--test_datasets=samm is for --protocol=cross_dataset, not for lodo",
        ),
    ],
)
def test_data_sets_that_do_not_divide_the_composite_are_refused(three, flags, message):
    with pytest.raises(UserError, match=message):
        make(three, **{"protocol": "cross_dataset"} | flags)


def test_lodo_of_one_data_set_is_refused():
    with pytest.raises(UserError, match="--dataset=smic is one. Name several"):
        splits.check_settings(TrainConfig(dataset="smic", protocol="lodo"))


def test_people_in_two_data_sets_are_kept_together_or_refused(load, monkeypatch):
    flags = {"dataset": "smic,samm", "classes": "megc3"}
    assert len(set(load(**flags).subjects)) == 16 + 28
    monkeypatch.setitem(recipes.SAME_PEOPLE, "smic", "samm")
    clips = load(**flags)
    assert len(set(clips.subjects)) == 28
    (folds,) = splits.make(TrainConfig(**flags, protocol="loso"), clips).values()
    assert {clips.datasets[i] for i in folds[0].test} == {"smic", "samm"}
    for protocol in ("lodo", "cross_dataset"):
        of_protocol = {} if protocol == "lodo" else {"test_datasets": "samm"}
        config = TrainConfig(**flags, protocol=protocol, **of_protocol)
        with pytest.raises(
            UserError, match="16 of the people of samm are in smic, too"
        ):
            splits.make(config, clips)
    # A split that was made elsewhere
    (folds,) = splits.make(TrainConfig(**flags, protocol="kfold"), clips).values()
    moved = dataclasses.replace(
        folds[0], test=folds[0].test[:1], train=np.append(folds[0].train, folds[0].test)
    )
    with pytest.raises(UserError, match="Leak"):
        splits.check({0: [moved]}, clips, "cross_dataset")
