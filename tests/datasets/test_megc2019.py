"""The clips of MEGC 2019 in generated copies of CASME II."""

import json

import numpy as np
import pytest

from datasets import check, prepare
from datasets.prepare import builder_class
from datasets.source.annotations import read_table
from meranet_jax import megc2019
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.runs.train_run import load_clips
from tests.datasets import samm_tree, smic_tree
from tests.datasets.casme2_tree import (
    MEGC,
    ROWS,
    SHORT,
    TABLES,
    write_table,
    write_tree,
)

COUNTS = {"negative": 88, "positive": 32, "surprise": 25}


@pytest.mark.parametrize("generation", ["20140508", "20190701"])
@pytest.mark.parametrize("rows", [ROWS, SHORT, MEGC])
def test_the_table_of_the_generated_copy_has_them(tmp_path, rows, generation):
    path = tmp_path / TABLES[generation]
    write_table(path, table=generation, rows=rows)
    table = read_table(path, builder_class("casme2").SPECIFICATION.columns)
    subjects, emotions, left_out = set(), [], {}
    for row in table.rows:
        clip_id = f"{row.subject}/{row.clip}"
        reason = megc2019.find("casme2").exclusion(
            clip_id=clip_id,
            emotion=row.emotion,
            onset=row.onset,
            apex=row.apex or 0,
            apex_estimated=row.apex is None,
        )
        if reason is None:
            subjects.add(row.subject)
            emotions.append(row.emotion)
        else:
            left_out[clip_id] = reason
    assert megc2019.count_classes(emotions) == COUNTS and len(left_out) == 110
    assert len(subjects) == 24 and not subjects & {"sub10", "sub18"}
    assert len({row.subject for row in table.rows}) == 26
    for clip in ("EP07_01", "EP07_04f", "EP10_03"):
        assert "sadness" in left_out[f"sub24/{clip}"]
    assert "no apex" in left_out["sub04/EP12_01f"]
    assert "apex at the onset" in left_out["sub05/EP09_05f"]


def test_the_generated_copies_make_a_composite_of_442_clips_of_68_subjects():
    clips = {
        "casme2": [(row.subject, row.emotions[0]) for row in ROWS if _has_apex(row)],
        "samm": [(row.subject, row.emotion.lower()) for row in samm_tree.ROWS],
        "smic": [(c.subject, c.emotion) for c in smic_tree.CLIPS["HS"]],
    }
    kept = {
        (name, subject, place)
        for name, of_name in clips.items()
        for place, (subject, emotion) in enumerate(of_name)
        if emotion in megc2019.find(name).emotions
    }
    assert len(kept) == 442 and len({one[:2] for one in kept}) == 68


def _has_apex(row):
    return row.apex not in (None, row.onset)


@pytest.fixture(scope="module", params=["20140508", "20190701"])
def table(request):
    """A generation of the table."""
    return request.param


@pytest.fixture(scope="module")
def copy(tmp_path_factory, table):
    """A copy with all 255 expressions, of three frames each."""
    folder = tmp_path_factory.mktemp("copy")
    write_tree(folder, rows=MEGC, table=table)
    return folder


def test_the_check_counts_them_and_names_the_others(copy, table):
    report = check.check("casme2", copy)
    found = report.megc2019
    assert found["counts"] == found["published"] == COUNTS
    left_out = {reason: len(clips) for reason, clips in found["left_out"].items()}
    assert left_out == {
        "apex at the onset, not in MEGC 2019": 1,
        "fear, not in MEGC 2019": 2,
        "no apex in the table, not in MEGC 2019": 1,
        "others, not in MEGC 2019": 99,
    } | (
        {"sadness, not in MEGC 2019": 7}
        if table == "20140508"
        else {
            "sadness, not in MEGC 2019": 4,
            "surprise, but sadness in the table that MEGC 2019 used": 3,
        }
    )
    text = check.describe(report)
    assert (
        "--classes=megc3: all 145 clips of MEGC 2019 (negative 88, positive 32, "
        "surprise 25)" in text
    )
    assert "1 (no apex in the table, not in MEGC 2019): sub04/EP12_01f\n" in text
    assert json.loads(report.to_json())["megc2019"] == found


def test_a_run_has_these_clips(copy, table, tmp_path):
    config = TrainConfig(dataset="casme2", classes="megc3", size=16, min_frames=1)

    def records_of(one):
        return prepare.prepare(
            "casme2",
            manual_dir=copy,
            data_dir=tmp_path,
            options=prepare.Options(frames=2, window=2, size=16),
        )

    _, clips = load_clips(config, records_of)
    by_class = zip(clips.classes, np.bincount(clips.labels).tolist(), strict=True)
    assert dict(by_class) == clips.megc2019["casme2"] == COUNTS
    assert len(set(clips.subjects)) == 24
    assert not {"sub10", "sub18"} & set(clips.subjects)
    assert clips.classes["negative"] == ("disgust", "repression")
    excluded = {"sub24/EP07_01", "sub24/EP07_04f", "sub24/EP10_03", "sub05/EP09_05f"}
    assert excluded <= clips.left_out_ids.keys()
    assert sum(clips.left_out.values()) == 255 - 145
    # Other class sets have them.
    _, clips = load_clips(config.change(classes="all"), records_of)
    assert len(clips) == 255 and clips.megc2019 == {}


def test_a_part_of_the_clips_is_reported(tmp_path):
    write_tree(tmp_path, rows=MEGC[10:14])  # disgust, happiness, surprise, others
    text = check.describe(check.check("casme2", tmp_path))
    assert (
        "3 clips by the rule of MEGC 2019 (negative 1, positive 1, surprise 1), which "
        "has 145 (negative 88, positive 32, surprise 25)" in text
    )
    assert "too many" not in text


def test_more_clips_than_published_are_explained():
    rule = megc2019.find("smic")
    text = rule.describe(dict(rule.counts) | {"negative": 72, "positive": 50})
    assert text.startswith("165 clips by the rule of MEGC 2019")
    assert "; negative 2 too many: the table has rows or emotions that are not" in text


def test_an_error_says_what_the_rule_leaves_out(tmp_path):
    rows = [row for row in MEGC if row.emotions[1] == "others"][:2]
    write_tree(tmp_path / "copy", rows=rows)
    config = TrainConfig(dataset="casme2", classes="megc3", size=16, min_frames=1)

    def records_of(one):
        return prepare.prepare(
            "casme2",
            manual_dir=tmp_path / "copy",
            data_dir=tmp_path,
            options=prepare.Options(frames=2, window=2, size=16),
        )

    message = (
        "no clip is labelled negative; there is no clip. Choose other --classes.*The "
        r"rule of MEGC 2019.*leaves out 2 of 2 clips: 2 \(others, not in MEGC 2019\).*"
        "datasets.check casme2"
    )
    with pytest.raises(UserError, match=message):
        load_clips(config, records_of)
