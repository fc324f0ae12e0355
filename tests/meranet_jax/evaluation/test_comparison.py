import dataclasses

import numpy as np
import pytest
from scipy import stats

from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, metrics
from meranet_jax.evaluation.predictions import Predictions


def predictions(predicted, truth, subjects, *, seeds=None, classes=("a", "b", "c")):
    """Predictions with probability 1, of the same clips for each seed."""
    predicted, truth = np.array(predicted), np.array(truth)
    seeds = np.zeros(len(truth), int) if seeds is None else np.array(seeds)
    first = seeds == seeds[0]
    clips = np.array([f"clip{n:02d}" for n in range(first.sum())])
    return Predictions(
        classes,
        np.tile(clips, len(set(seeds.tolist()))),
        np.full(len(truth), "tiny"),
        np.array(subjects),
        seeds,
        np.full(len(truth), "1"),
        truth,
        np.eye(len(classes), dtype=np.float32)[predicted],
    )


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    subjects = [f"s{n % 10}" for n in range(60)]
    wrong = (truth + 1) % 3
    good = np.where(rng.random(60) < 0.8, truth, wrong)
    bad = np.where(rng.random(60) < 0.4, truth, wrong)
    return predictions(good, truth, subjects), predictions(bad, truth, subjects)


def test_differences_are_those_of_the_metrics(runs):
    good, bad = runs
    found = comparison.compare(good, bad)
    assert found["clips"] == 60 and found["subjects"] == 10
    matrices = [metrics.confusion_matrix(r.truth, r.predicted, 3) for r in runs]
    for name, row in found["metrics"].items():
        values = [float(metrics.STATISTICS[name](matrix)) for matrix in matrices]
        assert [row["first"], row["second"]] == pytest.approx(values)
        assert row["difference"] == pytest.approx(values[0] - values[1])
        low, high = row["interval"]
        assert 0 < low < row["difference"] < high
    (test,) = found["mcnemar"]
    assert test["only_first"] == (good.correct & ~bad.correct).sum()
    assert test["only_second"] == (bad.correct & ~good.correct).sum()
    assert test["p"] == metrics.mcnemar(test["only_first"], test["only_second"]) < 0.01


def test_swapping_the_runs_changes_the_sign(runs):
    there, back = comparison.compare(*runs), comparison.compare(*runs[::-1])
    for name, row in there["metrics"].items():
        low, high = back["metrics"][name]["interval"]
        assert row["interval"] == pytest.approx([-high, -low])


def test_a_run_does_not_differ_from_itself(runs):
    found = comparison.compare(runs[0], runs[0])
    assert all(row["interval"] == [0, 0] for row in found["metrics"].values())
    assert found["mcnemar"] == [{"seed": 0, "only_first": 0, "only_second": 0, "p": 1}]
    assert not any(map(comparison.significant_winner, found["metrics"].values()))
    assert "is better" not in comparison.describe(found, "one", "two")


def test_order_of_clips_and_classes_does_not_matter(runs):
    good, bad = runs
    expected = comparison.compare(good, bad)
    shuffled = bad.select(np.random.default_rng(1).permutation(60))
    assert comparison.compare(good, shuffled) == expected
    renamed = bad.with_classes(("c", "a", "b"))
    assert renamed.probabilities[0, 0] == bad.probabilities[0, 2]
    assert comparison.compare(good, renamed) == expected


def test_paired_interval_is_narrower_than_unpaired():
    """Clips that both runs have wrong do not contribute to the difference."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    hard = rng.random(200) < 0.5
    one = np.where(hard, (truth + 1) % 3, truth)
    other = np.where(rng.random(200) < 0.05, (truth + 1) % 3, one)
    subjects = [f"s{n % 20}" for n in range(200)]
    low, high = comparison.compare(
        predictions(one, truth, subjects), predictions(other, truth, subjects)
    )["metrics"]["accuracy"]["interval"]
    unpaired = metrics.wilson_interval(100, 200)
    assert high - low < 0.6 * (unpaired[1] - unpaired[0])


def test_seeds_are_paired():
    truth, subjects = [0, 1, 2, 0] * 2, ["s1", "s1", "s2", "s2"] * 2
    seeds = [0] * 4 + [1] * 4
    first = predictions([0, 1, 2, 0, 0, 1, 2, 1], truth, subjects, seeds=seeds)
    second = predictions([1, 1, 2, 0, 0, 1, 0, 1], truth, subjects, seeds=seeds)
    found = comparison.compare(first, second)
    assert [
        (t["seed"], t["only_first"], t["only_second"]) for t in found["mcnemar"]
    ] == [
        (0, 1, 0),
        (1, 1, 0),
    ]
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["first"] == pytest.approx((1 + 0.75) / 2)
    assert accuracy["second"] == pytest.approx((0.75 + 0.5) / 2)
    with pytest.raises(UserError, match="different seeds: A 0, 1; B 0, 5"):
        comparison.compare(
            first, dataclasses.replace(second, seeds=np.array([0] * 4 + [5] * 4))
        )


def test_runs_of_one_seed_may_have_different_seeds(runs):
    other = dataclasses.replace(runs[1], seeds=np.full(60, 7))
    expected = comparison.compare(*runs)["metrics"]
    assert comparison.compare(runs[0], other)["metrics"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.select(np.arange(58)), r"2 are only in A \(first: clip58\)"),
        (
            lambda r: dataclasses.replace(r, clips=np.char.add(r.clips, "x")),
            "60 are only in A.*60 are only in B",
        ),
        (
            lambda r: dataclasses.replace(r, classes=("a", "b", "d")),
            "different classes: A a, b, c; B a, b, d",
        ),
        (
            lambda r: dataclasses.replace(
                r, truth=(r.truth + (r.clips == "clip07")) % 3
            ),
            r"different labels for 1 clips \(first: clip07\)",
        ),
        (
            lambda r: dataclasses.replace(r, subjects=r.subjects[::-1]),
            r"different subjects for 60 clips \(first: clip00\)",
        ),
    ],
)
def test_runs_that_cannot_be_compared_raise(runs, change, message):
    with pytest.raises(UserError, match=message):
        comparison.compare(runs[0], change(runs[1]))


def test_one_subject_has_no_interval(runs):
    alone = [dataclasses.replace(r, subjects=np.full(60, "s1")) for r in runs]
    found = comparison.compare(*alone)
    assert found["metrics"]["uf1"]["interval"] is None
    described = comparison.describe(found, "one", "two")
    assert "no interval over subjects: too few" in described


def test_seeds_that_disagree_give_no_significant_difference(runs):
    """The difference of each seed counts, not only the mean over subjects."""
    good, bad = runs
    several = [
        predictions(
            np.concatenate([one.predicted for one in each]),
            np.tile(good.truth, 3),
            np.tile(good.subjects, 3),
            seeds=np.repeat([0, 1, 2], 60),
        )
        for each in ((good, good, bad), (bad, bad, good))
    ]
    row = comparison.compare(*several)["metrics"]["accuracy"]
    gain = (good.correct.sum() - bad.correct.sum()) / 60
    assert row["by_seed"] == pytest.approx([gain, gain, -gain])
    assert row["difference"] == pytest.approx(gain / 3)
    assert row["interval"][0] > 0 > row["seeds_interval"][0]
    expected = stats.ttest_1samp(row["by_seed"], 0).confidence_interval()
    assert row["seeds_interval"] == pytest.approx(list(expected))
    assert comparison.significant_winner(row) == 0
    described = comparison.describe(comparison.compare(*several), "one", "other")
    assert "no significant difference" in described


def test_winner_is_significant_in_both_intervals(runs):
    there, back = (
        comparison.compare(
            *(
                predictions(
                    np.tile(one.predicted, 2),
                    np.tile(one.truth, 2),
                    np.tile(one.subjects, 2),
                    seeds=np.repeat([0, 1], 60),
                )
                for one in each
            )
        )
        for each in (runs, runs[::-1])
    )
    assert comparison.significant_winner(there["metrics"]["accuracy"]) == 1
    assert comparison.significant_winner(back["metrics"]["accuracy"]) == -1
    assert "A is better" in comparison.describe(there, "one", "other")
    assert "B is better" in comparison.describe(back, "one", "other")


def test_one_seed_has_no_significant_difference(runs):
    found = comparison.compare(*runs)
    row = found["metrics"]["accuracy"]
    assert row["interval"][0] > 0 and row["seeds_interval"] is None
    assert comparison.significant_winner(row) == 0
    described = comparison.describe(found, "one", "other")
    assert "no interval over seeds: only one): significance unknown" in described
