"""Table 1: the settings of the systems, their results, and the numbers quoted."""

import csv
import dataclasses
import re

import numpy as np
import pytest

from meranet_jax import files
from meranet_jax.analysis import artifacts, reproduction_flags, table1
from meranet_jax.config import default_config
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures, predictions
from meranet_jax.inputs import registry
from meranet_jax.runs import report
from tests.meranet_jax.runs.test_report import experiment
from tests.programs import ROOT

# True classes of 30 test clips, half of which are of class 0
TRUTH = np.tile([0, 1, 0, 2], 8)[:30]
# Predicted classes for two seeds: all correct, and of one class with one of the seeds
CORRECT = np.stack([TRUTH, TRUTH])
CONSTANT_ONCE = np.stack([TRUTH, 0 * TRUTH + 2])

ALL = tuple(table1.SYSTEMS)


def planned(*arguments):
    _, _, needed, _ = reproduction_flags.parse(["table1", *arguments])
    return {config.model: config for config in needed.values()}


def test_each_system_has_its_own_input_and_training():
    configs = planned("--dataset=casme2", "--protocols", "loso")
    assert tuple(configs) == ALL
    for name, config in configs.items():
        own = default_config("casme2", "paper", name)
        assert config.settings == own.settings
        assert (config.input, config.size) == (own.input, own.size)
        assert (config.protocol, config.all_seeds) == ("loso", (0,))


@pytest.mark.parametrize("value", [["--stclqp_words=48"], ["--stclqp-words", "48"]])
def test_flags_of_descriptors_are_for_the_systems_that_have_them(value):
    few = ["--protocols", "loso", "--systems", "meranet", "stclqp", "fmbh"]
    configs = planned("--preset=small", *few, *value, "--svm_c_exponents", "-1", "4")
    assert configs["stclqp"].settings.stclqp_words == 48
    assert configs["stclqp"].settings.svm_c_exponents == (-1, 4)
    for name, changes in (("fmbh", {"svm_c_exponents": (-1, 4)}), ("meranet", {})):
        own = default_config("synthetic", "small", name).settings
        assert configs[name].settings == dataclasses.replace(own, **changes)


@pytest.mark.parametrize(
    ("flags", "seeds"),
    [
        ([], (0,)),
        (["--seeds=3"], (0, 1, 2)),
        (["--seeds=3", "--loso_seeds=2"], (0, 1)),
        (["--loso_seeds=2"], (0, 1)),
        (["--seed=4"], (4,)),
    ],
)
def test_seeds_under_leave_one_subject_out(flags, seeds):
    configs = planned("--systems", "fmbh", "--protocols", "loso", *flags)
    assert configs["fmbh"].all_seeds == seeds


def test_flags_are_for_the_systems_that_have_them():
    flags = ["--epochs=3", "--input=flow", "--size=56", "--no-flip", "--data_dir=d"]
    configs = planned("--preset=small", "--protocols", "holdout", *flags)
    for name, config in configs.items():
        own = default_config("synthetic", "small", name)
        of_paper = name in ("meranet", "resnet3d")
        assert config.data_dir == "d" and len(config.all_seeds) == 5
        assert config.input == ("flow" if of_paper else own.input)
        assert config.size == (56 if of_paper else own.size)
        assert getattr(config.settings, "epochs", 3) == 3
        assert not getattr(config.settings, "flip", False)


def test_a_system_without_the_preset_has_the_small_one():
    configs = planned("--preset=new_people", "--protocols", "loso")
    presets = {name: config.preset for name, config in configs.items()}
    assert presets.pop("meranet") == presets.pop("resnet3d") == "new_people"
    assert set(presets.values()) == {"small"}
    assert (
        configs["ststnet"].settings
        == default_config("synthetic", "small", "ststnet").settings
    )


def test_all_systems_have_the_same_clips():
    """Recordings of key frames alone are left out, whichever systems are chosen."""
    configs = planned("--systems", "meranet", "ststnet", "fmbh", "bi_woof")
    assert {name: config.whole_clips for name, config in configs.items()} == {
        "meranet": False,
        "ststnet": True,
        "fmbh": False,
        "bi_woof": True,
    }
    for name in ("meranet", "fmbh"):
        assert registry.CLIP in registry.find(configs[name].input).features
    configs = planned("--systems", "ststnet", "bi_woof")
    assert all(config.whole_clips for config in configs.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--systems", "stst"], "--systems stst: there is no stst. Name"),
        (["table1", "--systems", "fmbh", "fmbh"], "--systems names fmbh twice"),
        (["table1", "--systems"], "--systems names none"),
        (["table1", "--systems="], "--systems names none"),
        (["table1", "--systems", "fmbh,mdmo"], "spaces: --systems fmbh mdmo"),
        (["table1", "--protocols"], "--protocols names none"),
        (["table1", "--protocols", "loso", "loso"], "--protocols names loso twice"),
        (["table1", "--protocols", "lodo"], "--protocols lodo: this protocol needs"),
        (["figure6", "--protocol=lodo"], "--protocol=lodo: this protocol needs"),
        (
            ["table1", "--systems", "fmbh", "rcn", "--stclqp_words=16"],
            "--stclqp_words is a flag of stclqp, and --systems names fmbh, rcn",
        ),
        (["table1", "--stclqp_word=16"], "Did you mean --stclqp_words of stclqp"),
        (["table1", "--stclqp_words=0"], "--stclqp_words=0 must be"),
        (
            ["table1", "--systems", "bi_woof", "fmbh", "--epochs=3"],
            "--epochs applies to none of bi_woof, fmbh",
        ),
        (
            ["table1", "--systems", "ststnet", "--size=56"],
            "--size applies to none of ststnet",
        ),
        (["figure4", "--systems", "fmbh"], "--systems is for table1 only"),
        (["figure4", "--loso_seeds=2"], "--loso_seeds is for table1 only"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(UserError, match=message):
        reproduction_flags.parse(arguments)


def test_a_preset_that_a_recogniser_does_not_have_is_refused():
    with pytest.raises(UserError, match="lbp_top has paper and small only"):
        default_config("synthetic", "new_people", "lbp_top")


def test_the_docs_state_the_published_numbers():
    lines = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8").splitlines()
    for name, system in table1.SYSTEMS.items():
        if system.accuracies:
            row = next(line for line in lines if line.startswith(f"| `{name}` |"))
            for number, _ in system.accuracies.values():
                assert f" {number:.2f} " in row
        for number in re.findall(r"\d\.\d{4}", system.others):
            assert any(f"`{name}`" in line and number in line for line in lines)


def test_quoted_accuracies():
    """The rows of the paper's Table 1, in per cent."""
    quoted = {
        name: tuple(
            system.accuracies.get(data, (None,))[0]
            for data in ("casme", "casme2", "cas_me_2")
        )
        for name, system in table1.SYSTEMS.items()
        if system.accuracies
    }
    assert quoted == {
        "meranet": (90.5, 91.7, 91.7),
        "resnet3d": (81.0, 83.3, 83.3),
        "stclqp": (57.31, 58.39, None),
        "fmbh": (61.33, 69.11, 73.67),
        "landmark_flow": (56.60, 56.94, None),
        "flow_cnn3d": (54.44, 59.11, None),
        "learnet": (80.62, 76.57, 76.57),
        "microexpstcnn": (None, None, 87.80),
        "microattention": (None, 65.90, None),
    }


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Returns a function that makes the table of invented runs.

    It takes the data set, and for each system what changes in its settings and its
    predicted classes, of 30 test clips for each of two seeds, [2, 30].
    It returns the lines of the table in Markdown, the rows of its CSV and its figure.
    """
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))

    def make(dataset, systems):
        finished = {}
        for model, (changes, predicted) in systems.items():
            run, known = experiment(seeds=(0, 1))
            config = default_config(dataset, "small", model)
            config = config.change(protocol="loso", seeds="2", **changes)
            run = dataclasses.replace(run, path=tmp_path / model, config=config)
            run.path.mkdir()
            chosen = np.eye(3, dtype=np.float32)[predicted.reshape(-1)]
            truth = np.tile(TRUTH, 2)
            known = dataclasses.replace(known, truth=truth, probabilities=chosen)
            predictions.write(known, run.layout.predictions)
            files.write_json(run.layout.report, report.make(run, known))
            finished[dataset, "loso", config.title] = run
        text = artifacts.make("table1", tmp_path, finished, [])
        with (tmp_path / "table1.csv").open(newline="") as file:
            return text.splitlines(), list(csv.DictReader(file)), drawn[-1]

    return make


def test_a_table_says_how_its_numbers_were_made(results):
    lines, rows, _ = results(
        "synthetic",
        {
            "ststnet": ({"epochs": 1, "flip": True, "data_dir": "d"}, CORRECT),
            "fmbh": ({"train_subjects": 3}, CORRECT),
            "bi_woof": ({}, CORRECT),
        },
    )
    assert [row["epochs"] for row in rows] == ["1", "", ""]
    changed = ["flip on instead of off; epochs 1 instead of 200"]
    changed += ["train_subjects 3 (not set by default)", ""]
    assert [row["changed_settings"] for row in rows] == changed
    first = lines.index(f"- STSTNet: {changed[0]}")
    assert lines[first + 1 : first + 3] == [f"- FMBH, our reading: {changed[1]}", ""]
    assert "| STSTNet | 2019 | small | flow and strain | 1,683 | 1 | 1.000" in "".join(
        line[:70] for line in lines
    )


def test_default_settings_are_called_so(results):
    lines, _, _ = results("synthetic", {"ststnet": ({"data_dir": "d"}, CORRECT)})
    assert "All settings are the defaults of the system with its preset." in lines


def test_systems_that_predict_one_class_are_named(results):
    lines, rows, figure = results(
        "synthetic",
        {
            "ststnet": ({}, 0 * CORRECT),
            "bi_woof": ({}, CORRECT),
            "rcn": ({}, CONSTANT_ONCE),
            "off_apexnet": ({}, 0 * CORRECT + 1),
        },
    )
    assert [row["constant_seeds"] for row in rows] == ["2", "0", "1", "2"]
    same = "the same class for all test clips with"
    assert f"STSTNet; Off-ApexNet: {same} 2 of 2 seeds." in lines
    assert f"RCN-A: {same} 1 of 2 seeds." in lines
    # 15 of 30 clips; F1 of their class is 2 x 15 / (30 + 15), its recall 1.
    commonest = {"accuracy": 1 / 2, "uf1": 2 / 9, "uar": 1 / 3}
    for name, value in commonest.items():
        assert float(rows[0][f"commonest_{name}"]) == pytest.approx(value)
        assert rows[0][name] == rows[0][f"commonest_{name}"]
    (row,) = (line for line in lines if line.startswith("| *always the"))
    assert row.split("|")[-4:-1] == [" 0.500 ", " 0.222 ", " 0.333 "]
    for axes, name in zip(figure.axes, ("uf1", "accuracy"), strict=True):
        dashed = (line for line in axes.lines if line.get_linestyle() == "--")
        (line,) = (line for line in dashed if len(line.get_xdata()))
        assert list(line.get_xdata()) == pytest.approx([commonest[name]] * 2)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert "always the commonest class" in texts


@pytest.mark.parametrize(("dataset", "published"), [("synthetic", 0), ("casme2", 1)])
def test_published_numbers_are_shown_if_there_are_any(results, dataset, published):
    lines, rows, _ = results(dataset, {"fmbh": ({}, CORRECT), "bi_woof": ({}, CORRECT)})
    text = "\n".join(lines)
    assert text.count("| published accuracy | measured on |") == published
    assert text.count("**Published accuracies**") == published
    assert rows[0]["published_accuracy"] == ("0.6911" if published else "")
    assert rows[1]["published_accuracy"] == ""
    assert rows[1]["input"] == "raw_onset_apex_flow"  # not its title in Markdown
    assert "| Bi-WOOF + SVM | 2018 | small | flow from onset to apex |" in text
