"""Experiments that compare variants: what is planned, and how results are compared."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from meranet_jax.analysis import artifacts, experiments, reproduction_flags, variants
from meranet_jax.config import default_config
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions as predictions_module
from meranet_jax.evaluation import summary
from meranet_jax.runs import reader

BASE = default_config("synthetic/wild", "new_people").change(
    protocol="holdout_subject", seeds="2"
)


def made(truth, predicted, seed):
    """Returns predictions of 12 subjects, certain of their class."""
    count = len(truth)
    return predictions_module.Predictions(
        classes=("negative", "positive", "surprise"),
        clips=np.array([f"c{n}" for n in range(count)]),
        datasets=np.array(["synthetic"] * count),
        subjects=np.array([f"s{n % 12}" for n in range(count)]),
        seeds=np.full(count, seed),
        folds=np.array(["holdout"] * count),
        truth=truth,
        probabilities=np.eye(3, dtype=np.float32)[predicted],
    )


def test_inputs_are_those_of_both_networks_and_the_baseline():
    found = variants.variants("inputs", BASE)
    assert len(found) == 2 * len(variants.INPUTS) + 1
    assert found[0].label == "MERANet, rgb"  # the paper's is the reference
    configs = [variants.configure(BASE, one) for one in found]
    assert {(c.model, c.input) for c in configs} == {
        *((m, i) for m in ("meranet", "resnet3d") for i in variants.INPUTS),
        ("lbp_top", "raw"),
    }
    assert len({config.name for config in configs}) == len(configs)
    assert all(config.protocol == "holdout_subject" for config in configs)


def test_an_ablation_replaces_each_choice_of_the_preset():
    first, *others = variants.variants("ablation", BASE)
    assert not first.changes
    usual = default_config("synthetic/wild", "small").flags()
    recipe = BASE.flags()
    for variant in others:
        ((name, value),) = variant.changes.items()
        assert value != recipe[name]
        assert value == usual[name] or name in ("width", "size")
    changed = {name for variant in others for name in variant.changes}
    differing = {name for name in recipe if recipe[name] != usual[name]}
    assert changed - {"width", "size"} == differing - {"preset", "protocol", "seeds"}
    assert {variant.reference for variant in others} == {"complete recipe"}
    with pytest.raises(UserError, match="--preset=small has no choice of its own"):
        variants.variants("ablation", default_config("synthetic/wild", "small"))


def test_random_weights_are_a_variant_of_a_recipe_with_weights():
    _, _, _, (base,) = reproduction_flags.parse(
        ["ablation", "--dataset=synthetic/wild", "--init=pretrained"]
        + ["--preset=new_people", "--protocol=holdout_subject", "--seeds=2"]
    )
    # What the preset changes for a start from weights is undone without them.
    undone = {name: BASE.flags()[name] for name in ("epochs", "learning_rate")}
    assert all(base.flags()[name] != value for name, value in undone.items())
    found = variants.variants("ablation", base)
    assert found[-1].changes == {"init": None} | undone
    for name, value in undone.items():  # each alone, with the weights
        assert {name: value} in [variant.changes for variant in found]
    for variant in found:  # the weights do not fit another input or another width
        fits = not {"input", "width"} & set(variant.changes)
        assert fits or variant.changes["init"] is None
    curves = variants.variants("learning_curve", base)
    for random, pretrained in zip(curves[::2], curves[1::2], strict=True):
        assert (random.reference, pretrained.reference) == (None, random.label)
        assert random.changes == pretrained.changes | {"init": None} | undone
        assert "init" not in variants.configure(base, random).name


def test_learning_curves_reduce_the_training_part():
    found = variants.variants("learning_curve", BASE)
    configs = [variants.configure(BASE, one) for one in found]
    # The largest first, so that a size that does not fit fails at once
    assert [c.train_subjects for c in configs if c.train_subjects] == [40, 20, 10, 5]
    assert [c.train_clips for c in configs if c.train_clips] == [8, 4, 2, 1]
    assert len({config.name for config in configs}) == len(configs)


def test_flags_that_an_experiment_sets_are_refused():
    wild = "--dataset=synthetic/wild_small"
    for preset in ("small", "new_people"):
        _, _, _, (base,) = reproduction_flags.parse(
            ["inputs", wild, f"--preset={preset}"]
        )
        assert base.preset == preset
    with pytest.raises(UserError, match="learning_curve with --protocol=holdout"):
        reproduction_flags.parse(["learning_curve", wild])
    for arguments, flag in (
        (["inputs", "--input=flow"], "input"),
        (["learning_curve", "--train_subjects=3"], "train_subjects"),
        (["inputs", "--init=pretrained"], "init"),
    ):
        with pytest.raises(UserError, match=f"--{flag}"):
            reproduction_flags.parse([*arguments, wild, "--protocol=loso"])


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Makes runs from shares of correct predictions, by variant and seed."""
    truth = np.tile([0, 1, 2], 40)
    runs = {}

    class Run:
        def __init__(self, name, shares):
            parts = []
            for seed, share in enumerate(shares):
                rng = np.random.default_rng(seed)
                wrong = rng.permutation(len(truth)) >= share * len(truth)
                predicted = np.where(wrong, (truth + 1) % 3, truth)
                parts.append(made(truth, predicted, seed))
            self.path = tmp_path / name
            self.records = [Path("data/synthetic/wild/1.1.0")]
            self.starts = [{"commit": "0123456789", "packages": {"jax": "0.10.2"}}]
            self.predicted = predictions_module.concatenate(parts)
            self.layout = dataclasses.make_dataclass("Layout", ["predictions"])(self)

    def make(experiment, shares):
        for variant, of_seeds in zip(
            variants.variants(experiment, BASE), shares, strict=True
        ):
            key = ("synthetic/wild", "holdout_subject", variant.label)
            runs[key] = Run(variant.label, of_seeds)
        return runs

    reports = {}
    monkeypatch.setattr(
        reader,
        "read_report",
        lambda path: reports.setdefault(path, report_of(path)),
    )
    monkeypatch.setattr(predictions_module, "read", lambda run: run.predicted)

    def report_of(path):
        (run,) = (run for run in runs.values() if run.path == path)
        seeds = sorted(set(run.predicted.seeds.tolist()))
        return summary.summarise(run.predicted) | {"seeds": seeds}

    return make


def test_differences_are_from_the_reference(finished, tmp_path):
    count = len(variants.variants("inputs", BASE))
    shares = [(0.5, 0.52), (0.9, 0.93), *[(0.5, 0.52)] * (count - 2)]
    text = artifacts.make("inputs", tmp_path, finished("inputs", shares), [BASE])
    with (tmp_path / "inputs.csv").open(newline="") as file:
        first, better, same, *_ = csv.DictReader(file)
    assert first["difference"] == ""
    expected = float(better["uf1"]) - float(first["uf1"])
    assert float(better["difference"]) == pytest.approx(expected)
    assert better["significant"] == "True" and float(better["difference"]) > 0.3
    assert float(same["difference"]) == 0 and same["significant"] == "False"
    assert "Differences are from “MERANet, rgb”" in text
    assert "Records: synthetic/wild/1.1.0. Commit 0123456, jax 0.10.2, on an" in text
    (line,) = (line for line in text.splitlines() if "3D ResNet, rgb" in line)
    assert f"+{expected:.3f}" in line and line.rstrip("| ").endswith("yes")
    assert (tmp_path / "inputs.png").exists()


def test_learning_curves_have_their_numbers(finished, tmp_path):
    shares = [(0.4 + 0.05 * n, 0.4 + 0.05 * n) for n in range(8)]
    finished = finished("learning_curve", shares)
    artifacts.make("learning_curve", tmp_path, finished, [BASE])
    with (tmp_path / "learning_curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train_subjects"] for row in rows][:5] == ["40", "20", "10", "5", ""]
    assert [row["train_clips"] for row in rows][4:] == ["8", "4", "2", "1"]
    assert {row["start"] for row in rows} == {"random weights"}
    assert (tmp_path / "learning_curve.png").exists()


def test_plans_have_the_runs_of_each_data_set():
    bases = [BASE, BASE.change(dataset="synthetic/wild_b")]
    plan = experiments.plan("ablation", bases, ("holdout",), 1)
    labels = [variant.label for variant in variants.variants("ablation", BASE)]
    assert [key[2] for key in plan] == 2 * labels
    assert {key[0] for key in plan} == {"synthetic/wild", "synthetic/wild_b"}
    assert len({config.name for config in plan.values()}) == len(plan)
