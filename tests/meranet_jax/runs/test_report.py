import json
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
    """A run of six subjects a data set, each its fold, and what it predicted."""
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
    tested = Predictions(
        CLASSES,
        clips,
        names,
        subjects,
        seed,
        folds,
        truth,
        rng.dirichlet([1, 1, 1], len(truth)).astype(np.float32),
    )
    whole = sorted(set(subjects.tolist()))
    divided = {
        "protocol": "loso",
        "seeds": {str(s): [{"name": subject} for subject in whole] for s in seeds},
    }
    config = TrainConfig.from_flags(
        dataset=",".join(datasets),
        protocol="loso",
        classes="megc3",
        seeds=",".join(map(str, seeds)) if len(seeds) > 1 else None,
        seed=0 if len(seeds) > 1 else seeds[0],
        **settings,
    )
    facts = {
        "clips": len(set(clips.tolist())),
        "subjects": len(whole),
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
    run = Run(Path("nowhere"), config, [], facts, json.dumps(divided), [start])
    return run, tested


def test_a_single_seed_is_scored_from_its_pooled_matrix():
    run, tested = experiment()
    made = report.make(run, tested)
    matrix = metrics.confusion_matrix(tested.truth, tested.predicted, 3)
    for name, statistic in metrics.STATISTICS.items():
        found = made["metrics"][name]
        assert found["mean"] == statistic(matrix) == found["values"][0]
        assert found["sd"] is None
        low, high = found["interval"]
        assert low < found["mean"] < high
    right = int(tested.correct.sum())
    assert made["metrics"]["accuracy"]["interval"] == metrics.wilson_interval(right, 30)
    assert made["pooled"]["confusion"] == matrix.tolist()
    assert [row["clips"] for row in made["by_fold"]] == [5] * 6
    assert sum(row["correct"] for row in made["by_fold"]) == right
    assert "by_dataset" not in made


def test_pooled_is_not_the_mean_of_the_folds():
    """Averages of folds are what this field is warned of."""
    run, tested = experiment()
    folds = [
        metrics.confusion_matrix(part.truth, part.predicted, 3)
        for part in (tested.select(tested.folds == f) for f in set(tested.folds))
    ]
    mean = np.mean([metrics.uf1(matrix) for matrix in folds])
    assert report.make(run, tested)["metrics"]["uf1"]["mean"] != pytest.approx(mean)


def test_several_seeds_have_mean_deviation_and_all_values():
    run, tested = experiment(seeds=(3, 5, 8))
    made = report.make(run, tested)
    assert made["seeds"] == [3, 5, 8]
    assert made["clips"] == 30  # not 90
    for name, statistic in metrics.STATISTICS.items():
        values = [
            statistic(metrics.confusion_matrix(part.truth, part.predicted, 3))
            for part in (tested.select(tested.seeds == s) for s in (3, 5, 8))
        ]
        found = made["metrics"][name]
        assert found["values"] == values
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    # Not Wilson's of 90 clips, which are 30 clips three times.
    right = int(tested.correct.sum())
    wilson = metrics.wilson_interval(right, 90)
    assert made["metrics"]["accuracy"]["interval"] != wilson
    text = report_text.to_markdown(run, made)
    assert "done 3 times (seed 3, 5, 8)" in text
    for value in made["metrics"]["uf1"]["values"]:
        assert f"{value:.3f}" in text


def test_over_several_holdouts_it_is_said_how_many_clips_a_number_is_of():
    """Each seed has a test part of its own."""
    run, tested = experiment(seeds=(0, 1))
    apart = (tested.subjects < "casme2/s3") == (tested.seeds == 0)
    made = report.make(run, tested.select(apart))
    assert [row["clips"] for row in made["by_seed"]] == [15, 15]
    assert "15 test clips under each seed, 30 in all, of 6 subj" in report_text.how(
        made
    )
    assert "is the mean over the seeds" in report_text.how(made)


def test_classes_are_averaged_over_seeds_as_all_else_is():
    run, tested = experiment(seeds=(0, 1))
    made = report.make(run, tested)
    for name, row in made["by_class"].items():
        seeds = [seed["by_class"][name] for seed in made["by_seed"]]
        assert row["clips"] == sum(seed["clips"] for seed in seeds)
        for number in ("recall", "f1"):
            assert row[number] == np.mean([seed[number] for seed in seeds])
    macro = np.mean([row["f1"] for row in made["by_class"].values()])
    assert macro == pytest.approx(made["metrics"]["uf1"]["mean"])


def test_a_given_split_is_told():
    run, tested = experiment(split="mine.json")
    assert "divided as mine.json says" in report_text.how(report.make(run, tested))


def test_one_clip_in_one_fold_is_reported():
    run, tested = experiment()
    made = report.make(run, tested.select(np.array([3])))
    assert made["clips"] == 1 and made["metrics"]["uf1"]["interval"] is None
    assert "1 test clips of 1 subjects" in report_text.to_markdown(run, made)


def test_names_do_not_break_tables():
    run, tested = experiment()
    run.facts["counts"] = {"a|b": {"c|d": 1}}
    assert "| a\\|b | c\\|d 1 | 1 |" in report_text.to_markdown(
        run, report.make(run, tested)
    )


def test_a_composite_is_scored_over_all_and_for_each():
    run, tested = experiment(datasets=("casme", "casme2"))
    made = report.make(run, tested)
    assert made["clips"] == 60 and made["subjects"] == 12
    parts = made["by_dataset"]
    assert {name: part["clips"] for name, part in parts.items()} == {
        "casme": 30,
        "casme2": 30,
    }
    pooled = sum(np.array(part["pooled"]["confusion"]) for part in parts.values())
    assert pooled.tolist() == made["pooled"]["confusion"]
    alone = summary.summarise(tested.select(tested.datasets == "casme"))
    assert parts["casme"] == alone
    assert "| casme2 | 30 | 6 |" in report_text.to_markdown(run, made)


def test_calibration_is_of_each_seed():
    run, tested = experiment(seeds=(0, 1))
    found = report.make(run, tested)["metrics"]["ece"]
    for seed in (0, 1):
        part = tested.select(tested.seeds == seed)
        expected = metrics.calibration(part.probabilities, part.truth)["ece"]
        assert found["values"][seed] == expected
    assert found["interval"] is None


def test_words_say_how_the_numbers_were_formed():
    run, tested = experiment(select="last")
    made = report.make(run, tested)
    for text in (report_text.describe(made), report_text.to_markdown(run, made)):
        assert "leave one subject out" in text
        assert "30 test clips of 6 subjects in 6 folds, done once (seed 0)" in text
        assert "negative (10 clips: disgust 9, fear 1), positive (10 clips)" in text
        assert "of the last epoch; the test part was read once" in text
        assert f"{made['metrics']['uf1']['mean']:.3f}" in text
    text = report_text.to_markdown(run, made)
    assert "- 4 clips: others, not among the classes" in text
    assert "fold s3: its training part has no clip of surprise" in text
    assert "`python train.py '--dataset=x y'`" in text
    assert "commit c0ffee" in text and "2 x abacus" in text
    for picture in ("confusion", "spread", "subjects", "reliability", "curves"):
        assert f"({picture}.png)" in text


def test_a_report_comes_back_from_json_as_it_was():
    made = report.make(*experiment(seeds=(0, 1), datasets=("casme", "casme2")))
    assert json.loads(json.dumps(made)) == made
