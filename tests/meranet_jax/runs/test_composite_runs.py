"""Complete runs that test complete data sets of a composite data set."""

import dataclasses
import json
from unittest import mock

import pytest

from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, figures
from meranet_jax.runs import cross_dataset, merge, reader, report_text, verification
from meranet_jax.runs.cross_dataset import Target
from meranet_jax.runs.formatters import interval_text
from meranet_jax.runs.train_run import load_clips
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.records import casme2_rows, rows_of, write_records
from tests.meranet_jax.running import run, touch_figure

pytestmark = pytest.mark.e2e

LODO = {"dataset": "synthetic/hard,mylab", "protocol": "lodo", "epochs": 1}


@pytest.fixture(scope="module")
def two(clips):
    """Two data sets of two subjects each."""
    names = ("synthetic/hard",) * 18 + ("mylab",) * 18
    prefixes = [name.partition("/")[0] for name in names]
    return dataclasses.replace(
        clips,
        datasets=names,
        **{
            field: tuple(
                f"{prefix}/{text}"
                for prefix, text in zip(prefixes, getattr(clips, field), strict=True)
            )
            for field in ("clip_ids", "subjects")
        },
    )


@pytest.fixture(scope="module")
def path(two, tmp_path_factory):
    """A run with two folds and two seeds."""
    config = smallest(tmp_path_factory.mktemp("runs"), **LODO, seeds="2")
    return run(config, two)


def test_the_report_has_each_data_set(path):
    saved = reader.read(path)
    assert [name for _, _, name in saved.folds] == ["synthetic", "mylab"] * 2
    report = verification.check_report(saved)
    for fold in report["by_fold"]:
        (name,) = [n for n in report["by_dataset"] if n.startswith(fold["fold"])]
        of_dataset = report["by_dataset"][name]["by_seed"][fold["seed"]]
        assert (fold["uf1"], fold["uar"]) == (of_dataset["uf1"], of_dataset["uar"])
    text = (path / "report.md").read_text()
    assert "leave-one-data-set-out, one fold for each data set; subject-disj" in text
    rows = [line for line in text.splitlines() if line.startswith(("| all |", "| syn"))]
    assert rows[0].startswith("| all | 36 | 4 | ")
    assert rows[1].startswith("| synthetic/hard | 18 | 2 | ")
    for row, found in zip(
        rows, (report, report["by_dataset"]["synthetic/hard"]), strict=True
    ):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        names = ("uf1", "uar", "accuracy")
        assert cells[3:] == [interval_text(found["metrics"][name]) for name in names]
    shown = report_text.describe(report)
    accuracy = report["by_dataset"]["mylab"]["metrics"]["accuracy"]
    assert f"accuracy {interval_text(accuracy)} (18 clips of 2 sub" in shown


def test_merged_shards_equal_the_run_and_a_finished_run_is_kept(path, two, tmp_path):
    config = smallest(path.parent, **LODO, seeds="2")
    trained = []
    run(config, two, watch={"epoch": lambda job, line: trained.append(job)})
    assert trained == []
    parts = [
        reader.read(run(config.change(name="part", fold_shard=f"{n}/2"), two))
        for n in (1, 2)
    ]
    merged = merge.merge(parts, tmp_path / "merged")
    assert merged == json.loads((path / "report.json").read_text())


def test_two_runs_are_compared_on_the_same_split(path, two):
    other = smallest(
        path.parent, **LODO, seeds="2", name="other", split=str(path / "split.json")
    )
    runs = [reader.read(path), reader.read(run(other.change(reduction=2), two))]
    compared = comparison.compare(*map(verification.read_predictions, runs))
    assert compared["clips"] == 36 and len(compared["mcnemar"]) == 2


def test_a_run_of_one_division_names_what_was_trained_and_tested(two, tmp_path):
    flags = {"protocol": "cross_dataset", "test_datasets": "mylab", "epochs": 1}
    config = smallest(tmp_path, dataset="synthetic/hard,mylab", **flags)
    saved = reader.read(run(config, two))
    assert saved.path.name.endswith("cross_dataset-test-mylab-seed0")
    report = verification.check_report(saved)
    assert report["clips"] == 18 and report["tested_datasets"] == ["mylab"]
    text = (saved.path / "report.md").read_text()
    assert "Protocol: trained on synthetic/hard, tested on mylab; subject-disj" in text
    # The other division is another run.
    with pytest.raises(UserError, match="test_datasets mylab, not synthetic"):
        run(config.change(name=saved.path.name, test_datasets="synthetic"), two)
    other = cross_dataset.configuration(saved, Target(dataset="casme2"), None)
    assert other.test_datasets is None


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Records of noise of SMIC and CASME II."""
    rows = {
        "smic": rows_of({"negative": 6, "positive": 5, "surprise": 4}, 5),
        "casme2": casme2_rows(),
    }
    return {
        name: write_records(tmp_path_factory.mktemp(name), of_name)
        for name, of_name in rows.items()
    }


@pytest.fixture(scope="module")
def of_smic(folders, tmp_path_factory):
    """A run on SMIC with the classes of MEGC 2019."""
    flags = {"dataset": "smic", "classes": "megc3", "frames": 2, "epochs": 1}
    config = smallest(tmp_path_factory.mktemp("runs"), **flags)
    _, clips = load_clips(config, lambda one: folders[one.dataset])
    path = run(config, clips)
    saved = json.loads((path / "config.json").read_text())
    saved["records"] = [str(folders["smic"])]
    (path / "config.json").write_text(json.dumps(saved))
    return path


def test_another_data_set_has_its_clips_of_megc_2019(of_smic, folders):
    with mock.patch.object(figures, "save", touch_figure):
        report = cross_dataset.evaluate(
            reader.read(of_smic),
            Target(dataset="casme2", classes="megc3"),
            lambda one: folders[one.dataset],
        )
    assert report["clips"] == 145
    assert report["data"]["left_out"]["others, not in MEGC 2019"] == 99
    text = (of_smic / "cross" / "casme2" / "report.md").read_text()
    assert "casme2: all 145 clips of MEGC 2019" in text


def test_a_run_is_opened_with_the_clips_that_it_had(of_smic, folders):
    saved = reader.read(of_smic)
    (source,) = saved.sources()
    assert source.rule.counts["negative"] == 70
    assert len(verification.open_run(saved, None).clips) == 15
    text = (of_smic / "report.md").read_text()
    assert (
        "smic: 15 clips by the rule of MEGC 2019 (negative 6, positive 5, surprise 4), "
        "which has 164" in text
    )
    # An older version chose no clips by the rule.
    del saved.data["megc2019"]
    (source,) = saved.sources()
    assert source.rule is None
