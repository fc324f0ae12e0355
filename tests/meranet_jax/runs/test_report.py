import json
import re
from pathlib import Path

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.evaluation import metrics, summary
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import report, report_text
from meranet_jax.runs.reader import Run

CLASSES = ("negative", "positive", "surprise")


def experiment(seeds=(0,), datasets=("casme2",), **settings):
    """Returns a run under loso with six subjects per data set, and its predictions."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{name}/s{s}/c{c}", name, f"{name}/s{s}", seed, f"{name}/s{s}", (s + c) % 3)
        for seed in seeds
        for name in datasets
        for s in range(6)
        for c in range(5)
    ]
    clips, names, subjects, seed, folds, truth = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    predicted = Predictions(
        CLASSES,
        clips,
        names,
        subjects,
        seed,
        folds,
        truth,
        rng.dirichlet([1, 1, 1], len(truth)).astype(np.float32),
    )
    names_of_subjects = sorted(set(subjects.tolist()))
    split = {
        "protocol": "loso",
        "seeds": {
            str(s): [{"name": subject} for subject in names_of_subjects] for s in seeds
        },
    }
    config = TrainConfig.from_flags(
        dataset=",".join(datasets),
        protocol="loso",
        classes="megc3",
        seeds=",".join(map(str, seeds)) if len(seeds) > 1 else None,
        seed=0 if len(seeds) > 1 else seeds[0],
        **settings,
    )
    data = {
        "clips": len(set(clips.tolist())),
        "subjects": len(names_of_subjects),
        "classes": {"negative": ["disgust", "fear"]} | {c: [c] for c in CLASSES[1:]},
        "counts": {
            "negative": {"disgust": 9, "fear": 1},
            "positive": {"positive": 10},
            "surprise": {"surprise": 10},
        },
        "left_out": {"others, not among the classes": 4},
        "lacking": ["seed 0, fold s3: its training part has no clip of surprise"],
    }
    start = {
        "date": "2026-01-02T03:04:05+00:00",
        "command": ["/usr/bin/python", "train.py", "--dataset=x y"],
        "commit": "c0ffee",
        "python": "3.12.1",
        "packages": {"jax": "0.12.0"},
        "devices": ["a", "b"],
        "device_kind": "abacus",
    }
    run = Run(Path("nowhere"), config, [], data, json.dumps(split), [start])
    return run, predicted


def test_metrics_of_a_seed_are_computed_from_the_pooled_confusion_matrix():
    run, predicted = experiment()
    made = report.make(run, predicted)
    matrix = metrics.confusion_matrix(predicted.truth, predicted.predicted, 3)
    for name, statistic in metrics.STATISTICS.items():
        found = made["metrics"][name]
        assert found["mean"] == statistic(matrix) == found["values"][0]
        assert found["sd"] is None
        low, high = found["interval"]
        assert low < found["mean"] < high
    correct = int(predicted.correct.sum())
    assert made["metrics"]["accuracy"]["interval"] == metrics.wilson_interval(
        correct, 30
    )
    assert made["pooled"]["confusion"] == matrix.tolist()
    assert [row["clips"] for row in made["by_fold"]] == [5] * 6
    assert sum(row["correct"] for row in made["by_fold"]) == correct
    assert "by_dataset" not in made


def test_pooled_metrics_are_not_means_over_folds():
    run, predicted = experiment()
    folds = [
        metrics.confusion_matrix(part.truth, part.predicted, 3)
        for part in (
            predicted.select(predicted.folds == f) for f in set(predicted.folds)
        )
    ]
    mean = np.mean([metrics.uf1(matrix) for matrix in folds])
    made = report.make(run, predicted)
    assert made["metrics"]["uf1"]["mean"] != pytest.approx(mean)
    assert made["fold_means"]["uf1"]["mean"] == pytest.approx(mean)
    assert made["fold_means"]["comparable_with_pooled"] is False
    for fold, row in zip(sorted(set(predicted.folds)), made["by_fold"], strict=True):
        part = predicted.select(predicted.folds == fold)
        matrix = metrics.confusion_matrix(part.truth, part.predicted, 3)
        assert row["fold"] == fold
        assert row["accuracy"] == part.correct.mean()
        assert (row["uf1"], row["uar"]) == (metrics.uf1(matrix), metrics.uar(matrix))
    (line,) = [
        x
        for x in report_text.describe(made).splitlines()
        if x[:16] == "means over folds"
    ]
    assert f"UF1 {mean:.3f}" in line and "not comparable" in line
    text = report_text.to_markdown(run, made)
    assert f"| UF1 | {mean:.3f} |" in text.partition("## Means over folds")[2]


def test_means_over_folds_are_computed_for_each_seed():
    run, predicted = experiment(seeds=(3, 5))
    means = report.make(run, predicted)["fold_means"]["uar"]
    for seed, value in zip((3, 5), means["values"], strict=True):
        alone, part = experiment(seeds=(seed,))
        part = predicted.select(predicted.seeds == seed)
        assert report.make(alone, part)["fold_means"]["uar"]["mean"] == value
    assert means["mean"] == np.mean(means["values"]) and means["sd"] > 0


def test_several_seeds_have_mean_standard_deviation_and_values():
    run, predicted = experiment(seeds=(3, 5, 8))
    made = report.make(run, predicted)
    assert made["seeds"] == [3, 5, 8]
    assert made["clips"] == 30  # not 90
    for name, statistic in metrics.STATISTICS.items():
        values = [
            statistic(metrics.confusion_matrix(part.truth, part.predicted, 3))
            for part in (predicted.select(predicted.seeds == s) for s in (3, 5, 8))
        ]
        found = made["metrics"][name]
        assert found["values"] == values
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    # Wilson's interval of 90 clips would count 30 clips three times.
    correct = int(predicted.correct.sum())
    wilson = metrics.wilson_interval(correct, 90)
    assert made["metrics"]["accuracy"]["interval"] != wilson
    text = report_text.to_markdown(run, made)
    assert "3 seeds (3, 5, 8)" in text
    for value in made["metrics"]["uf1"]["values"]:
        assert f"{value:.3f}" in text


def test_number_of_clips_of_several_holdouts():
    """Each seed has another test part."""
    run, predicted = experiment(seeds=(0, 1))
    of_seed = (predicted.subjects < "casme2/s3") == (predicted.seeds == 0)
    made = report.make(run, predicted.select(of_seed))
    assert [row["clips"] for row in made["by_seed"]] == [15, 15]
    assert (
        "15 test clips per seed, 30 in total, of 6 subj"
        in report_text.describe_protocol(made)
    )
    assert "numbers are means over the seeds" in report_text.describe_protocol(made)


def test_metrics_by_class_are_averaged_over_seeds():
    run, predicted = experiment(seeds=(0, 1))
    made = report.make(run, predicted)
    for name, row in made["by_class"].items():
        seeds = [seed["by_class"][name] for seed in made["by_seed"]]
        assert row["clips"] == sum(seed["clips"] for seed in seeds)
        for number in ("recall", "f1"):
            assert row[number] == np.mean([seed[number] for seed in seeds])
    macro = np.mean([row["f1"] for row in made["by_class"].values()])
    assert macro == pytest.approx(made["metrics"]["uf1"]["mean"])


def test_the_file_of_a_split_is_named():
    run, predicted = experiment(split="mine.json")
    assert "split read from mine.json" in report_text.describe_protocol(
        report.make(run, predicted)
    )


def test_one_clip_in_one_fold_is_reported():
    run, predicted = experiment()
    made = report.make(run, predicted.select(np.array([3])))
    assert made["clips"] == 1 and made["metrics"]["uf1"]["interval"] is None
    text = report_text.to_markdown(run, made)
    assert "1 test clip of 1 subject in 6 folds, 1 seed" in text


def test_the_report_names_another_reference_than_the_onset():
    run, predicted = experiment()
    made = report.make(run, predicted)
    sentence = "the reference of each clip is its first frame."
    assert sentence not in report_text.to_markdown(run, made)
    run.data["first_as_onset"] = True
    made = report.make(run, predicted)
    assert sentence in report_text.to_markdown(run, made)


def test_the_report_names_changed_settings():
    for epochs, text in ((3, "epochs 3 instead of 100"), (100, "")):
        run, predicted = experiment(epochs=epochs)
        written = report_text.to_markdown(run, report.make(run, predicted))
        start = "Preset: paper, of which these settings were changed: "
        (changed,) = re.findall(f"{start}(.*)", written)
        assert "classes megc3 instead of paper" in changed
        assert ("epochs" in changed) == bool(text) and text in changed


def test_bars_in_names_are_escaped():
    run, predicted = experiment()
    run.data["counts"] = {"a|b": {"c|d": 1}}
    assert "| a\\|b | c\\|d 1 | 1 |" in report_text.to_markdown(
        run, report.make(run, predicted)
    )


def test_a_composite_has_metrics_for_each_data_set():
    run, predicted = experiment(datasets=("casme", "casme2"))
    made = report.make(run, predicted)
    assert made["clips"] == 60 and made["subjects"] == 12
    parts = made["by_dataset"]
    assert {name: part["clips"] for name, part in parts.items()} == {
        "casme": 30,
        "casme2": 30,
    }
    pooled = sum(np.array(part["pooled"]["confusion"]) for part in parts.values())
    assert pooled.tolist() == made["pooled"]["confusion"]
    separate = summary.summarise(predicted.select(predicted.datasets == "casme"))
    assert parts["casme"] == separate
    assert "| casme2 | 30 | 6 |" in report_text.to_markdown(run, made)


def test_calibration_is_computed_for_each_seed():
    run, predicted = experiment(seeds=(0, 1))
    found = report.make(run, predicted)["metrics"]["ece"]
    for seed in (0, 1):
        part = predicted.select(predicted.seeds == seed)
        expected = metrics.calibration(part.probabilities, part.truth)["ece"]
        assert found["values"][seed] == expected
    assert found["interval"] is None


def test_text_describes_protocol_clips_and_selection():
    run, predicted = experiment(select="last")
    made = report.make(run, predicted)
    for text in (report_text.describe(made), report_text.to_markdown(run, made)):
        assert "leave-one-subject-out" in text
        assert "30 test clips of 6 subjects in 6 folds, 1 seed (0)" in text
        assert "negative (10 clips: disgust 9, fear 1), positive (10 clips)" in text
        assert "of the last epoch; the test part was read once" in text
        assert f"{made['metrics']['uf1']['mean']:.3f}" in text
    text = report_text.to_markdown(run, made)
    assert "- 4 clips: others, not among the classes" in text
    assert "fold s3: its training part has no clip of surprise" in text
    assert "`python train.py '--dataset=x y'`" in text
    assert "commit c0ffee" in text and "2 x abacus" in text
    for figure in ("confusion", "spread", "subjects", "reliability", "curves"):
        assert f"({figure}.png)" in text


def test_reports_survive_json():
    made = report.make(*experiment(seeds=(0, 1), datasets=("casme", "casme2")))
    assert json.loads(json.dumps(made)) == made
