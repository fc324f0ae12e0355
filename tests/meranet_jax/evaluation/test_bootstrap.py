"""Bootstrap intervals over subjects against loops, SciPy and values by hand."""

import random

import numpy as np
import pytest
from scipy import stats

from meranet_jax.evaluation import metrics


def per_subject(subjects, seeds, skill=0.7, seed=0):
    """int [subjects, seeds, 3, 3]; subjects differ in clips and difficulty."""
    rng = np.random.default_rng(seed)
    found = np.zeros((subjects, seeds, 3, 3), int)
    for of_subject in found:
        clips, rate = rng.integers(2, 12), rng.beta(4 * skill, 4 * (1 - skill))
        for confusion in of_subject:
            truth = rng.integers(0, 3, clips)
            wrong = rng.random(clips) >= rate
            np.add.at(confusion, (truth, (truth + wrong) % 3), 1)
    return found


def slow_bootstrap(confusions, statistic, replicates=2000, seed=1):
    """bootstrap_interval as a loop over subjects, with another random generator."""
    rng, values = random.Random(seed), []
    for _ in range(replicates):
        chosen = [rng.randrange(len(confusions)) for _ in confusions]
        of_seeds = []
        for run in range(confusions.shape[1]):
            total = sum(confusions[subject, run] for subject in chosen)
            classes = confusions[:, run].sum(0).any(-1)
            if (total.any(-1) == classes).all():  # otherwise another statistic
                of_seeds.append(float(statistic(total)))
        if of_seeds:
            values.append(sum(of_seeds) / len(of_seeds))
    return np.percentile(values, [2.5, 97.5])


@pytest.mark.parametrize("name", metrics.STATISTICS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_bootstrap_equals_a_loop_over_subjects(name, seeds):
    confusions, statistic = per_subject(12, seeds), metrics.STATISTICS[name]
    found = metrics.bootstrap_interval(confusions, statistic)
    expected = slow_bootstrap(confusions, statistic)
    assert expected[1] - expected[0] > 0.1
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_bootstrap_of_seeds_with_different_subjects_equals_a_loop():
    confusions = per_subject(8, 4)
    for subject in range(
        8
    ):  # Two subjects per seed; a tenth of the replicates have neither.
        confusions[subject, np.arange(4) != subject // 2] = 0
    found = metrics.bootstrap_interval(confusions, metrics.uf1)
    np.testing.assert_allclose(
        found, slow_bootstrap(confusions, metrics.uf1), atol=0.02
    )


def test_bootstrap_of_subjects_of_equal_size_equals_scipy():
    rng = np.random.default_rng(0)
    correct = rng.binomial(8, rng.beta(3, 2, 15))  # 15 subjects with 8 clips each
    confusions = np.stack([np.array([[c, 8 - c], [0, 0]]) for c in correct])
    expected = stats.bootstrap(
        (correct / 8,), np.mean, method="percentile", n_resamples=5000, rng=1
    ).confidence_interval
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    np.testing.assert_allclose(found, expected, atol=0.015)


def test_bootstrap_resamples_subjects_and_not_clips():
    # Each of the two subjects is drawn twice in a quarter of the replicates.
    confusions = np.array([[[50, 0], [0, 50]], [[0, 50], [50, 0]]])
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [0, 1]


def test_bootstrap_ignores_seeds_without_clips():
    # Each subject is in the test part of one seed only.
    confusions = np.zeros((2, 2, 2, 2), int)
    confusions[0, 0], confusions[1, 1] = [[3, 0], [0, 3]], [[0, 3], [3, 0]]
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [0, 1]


def test_bootstrap_ignores_replicates_without_clips():
    confusions = np.zeros((3, 2, 2), int)
    confusions[0] = [[3, 1], [0, 4]]
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [7 / 8, 7 / 8]


@pytest.mark.parametrize("name", metrics.STATISTICS)
def test_bootstrap_of_identical_subjects_has_no_width(name):
    confusion = np.array([[8, 2, 0], [0, 3, 1], [1, 2, 1]])
    statistic = metrics.STATISTICS[name]
    low, high = metrics.bootstrap_interval(np.stack([confusion] * 6), statistic)
    # Results may differ in the last bit.
    assert [low, high] == pytest.approx([statistic(confusion)] * 2, abs=1e-12)


def test_bootstrap_averages_over_all_middle_axes():
    confusions = per_subject(6, 4)
    found = metrics.bootstrap_interval(confusions, metrics.uar)
    folded = confusions.reshape(6, 2, 2, 3, 3)
    assert metrics.bootstrap_interval(folded, metrics.uar) == found


def test_bootstrap_is_deterministic():
    confusions = per_subject(6, 2)
    first = metrics.bootstrap_interval(confusions, metrics.uf1)
    assert metrics.bootstrap_interval(confusions, metrics.uf1) == first


def test_one_subject_has_no_interval():
    assert metrics.bootstrap_interval(per_subject(1, 2), metrics.uf1) is None


def test_bootstrap_ignores_replicates_without_a_rare_class():
    """Two of twenty subjects show the third class, which is never predicted.

    Without it, UF1 would be over two classes, which is higher by half.
    """
    confusions = np.zeros((20, 3, 3), int)
    confusions[:, 0, 0] = confusions[:, 1, 1] = 5
    confusions[:2, 2, 0] = 2
    low, high = metrics.bootstrap_interval(confusions, metrics.uar)
    assert [low, high] == [2 / 3, 2 / 3]
    assert metrics.bootstrap_interval(confusions, metrics.uf1)[1] < 2 / 3


def test_no_interval_if_nearly_all_replicates_miss_a_class():
    """Each of eight subjects shows another class; 1 in 400 replicates has all."""
    confusions = np.zeros((8, 8, 8), int)
    confusions[range(8), range(8), range(8)] = 3
    assert metrics.bootstrap_interval(confusions, metrics.uf1) is None


@pytest.mark.parametrize("name", metrics.STATISTICS)
def test_difference_resamples_the_same_subjects(name):
    first = per_subject(12, 2)
    second = first.copy()  # other predictions for half of the subjects
    second[::2] = np.roll(second[::2], 1, axis=-1)
    statistic = metrics.STATISTICS[name]
    found = metrics.bootstrap_difference(first, second, statistic)
    rng, values = random.Random(1), []
    for _ in range(2000):
        chosen = [rng.randrange(12) for _ in range(12)]
        sums = [each[chosen].sum(0) for each in (first, second)]
        values.append(float((statistic(sums[0]) - statistic(sums[1])).mean()))
    np.testing.assert_allclose(found, np.percentile(values, [2.5, 97.5]), atol=0.03)
    swapped = metrics.bootstrap_difference(second, first, statistic)
    assert swapped == pytest.approx([-found[1], -found[0]])
