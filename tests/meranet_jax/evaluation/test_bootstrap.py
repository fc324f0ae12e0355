"""Intervals over subjects against slow loops, SciPy and by hand."""

import random

import numpy as np
import pytest
from scipy import stats

from meranet_jax.evaluation import metrics


def per_subject(subjects, seeds, skill=0.7, seed=0):
    """int [subjects, seeds, 3, 3]; subjects differ in their clips and in difficulty."""
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
    """What bootstrap_interval does, subject by subject with another generator."""
    rng, values = random.Random(seed), []
    for _ in range(replicates):
        chosen = [rng.randrange(len(confusions)) for _ in confusions]
        of_seeds = []
        for run in range(confusions.shape[1]):
            total = sum(confusions[subject, run] for subject in chosen)
            classes = confusions[:, run].sum(0).any(-1)
            if (total.any(-1) == classes).all():  # else it is another statistic
                of_seeds.append(float(statistic(total)))
        if of_seeds:
            values.append(sum(of_seeds) / len(of_seeds))
    return np.percentile(values, [2.5, 97.5])


@pytest.mark.parametrize("name", metrics.STATISTICS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_bootstrap_is_a_slow_loop_over_subjects(name, seeds):
    confusions, statistic = per_subject(12, seeds), metrics.STATISTICS[name]
    found = metrics.bootstrap_interval(confusions, statistic)
    theirs = slow_bootstrap(confusions, statistic)
    assert theirs[1] - theirs[0] > 0.1
    np.testing.assert_allclose(found, theirs, atol=0.02)


def test_bootstrap_of_seeds_with_their_own_subjects_is_a_slow_loop():
    confusions = per_subject(8, 4)
    for subject in range(8):  # Two subjects a seed; a tenth of the draws have neither.
        confusions[subject, np.arange(4) != subject // 2] = 0
    found = metrics.bootstrap_interval(confusions, metrics.uf1)
    np.testing.assert_allclose(
        found, slow_bootstrap(confusions, metrics.uf1), atol=0.02
    )


def test_bootstrap_of_equal_subjects_is_scipys():
    rng = np.random.default_rng(0)
    right = rng.binomial(8, rng.beta(3, 2, 15))  # of 8 clips of each of 15 subjects
    confusions = np.stack([np.array([[r, 8 - r], [0, 0]]) for r in right])
    theirs = stats.bootstrap(
        (right / 8,), np.mean, method="percentile", n_resamples=5000, rng=1
    ).confidence_interval
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    np.testing.assert_allclose(found, theirs, atol=0.015)


def test_bootstrap_draws_subjects_and_not_clips():
    # Of two subjects each is drawn twice in a quarter of the draws.
    confusions = np.array([[[50, 0], [0, 50]], [[0, 50], [50, 0]]])
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [0, 1]


def test_bootstrap_leaves_out_a_seed_without_clips():
    # Each subject is in one seed's test part alone.
    confusions = np.zeros((2, 2, 2, 2), int)
    confusions[0, 0], confusions[1, 1] = [[3, 0], [0, 3]], [[0, 3], [3, 0]]
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [0, 1]


def test_bootstrap_leaves_out_a_draw_without_clips():
    confusions = np.zeros((3, 2, 2), int)
    confusions[0] = [[3, 1], [0, 4]]
    found = metrics.bootstrap_interval(confusions, metrics.accuracy)
    assert found == [7 / 8, 7 / 8]


@pytest.mark.parametrize("name", metrics.STATISTICS)
def test_bootstrap_of_identical_subjects_has_no_width(name):
    confusion = np.array([[8, 2, 0], [0, 3, 1], [1, 2, 1]])
    statistic = metrics.STATISTICS[name]
    low, high = metrics.bootstrap_interval(np.stack([confusion] * 6), statistic)
    # The sums are the same; their last bit is not always.
    assert [low, high] == pytest.approx([statistic(confusion)] * 2, abs=1e-12)


def test_bootstrap_averages_over_all_middle_axes():
    confusions = per_subject(6, 4)
    found = metrics.bootstrap_interval(confusions, metrics.uar)
    folded = confusions.reshape(6, 2, 2, 3, 3)
    assert metrics.bootstrap_interval(folded, metrics.uar) == found


def test_bootstrap_is_the_same_each_time():
    confusions = per_subject(6, 2)
    first = metrics.bootstrap_interval(confusions, metrics.uf1)
    assert metrics.bootstrap_interval(confusions, metrics.uf1) == first


def test_one_subject_has_no_bootstrap():
    assert metrics.bootstrap_interval(per_subject(1, 2), metrics.uf1) is None


def test_a_class_that_few_subjects_show_does_not_change_the_statistic():
    """Twenty subjects; the third class is of two of them, and never right.

    A draw without it would be a UF1 of two classes, which is higher by half.
    """
    confusions = np.zeros((20, 3, 3), int)
    confusions[:, 0, 0] = confusions[:, 1, 1] = 5
    confusions[:2, 2, 0] = 2
    low, high = metrics.bootstrap_interval(confusions, metrics.uar)
    assert [low, high] == [2 / 3, 2 / 3]
    assert metrics.bootstrap_interval(confusions, metrics.uf1)[1] < 2 / 3


def test_where_nearly_every_draw_lacks_a_class_there_is_no_interval():
    """Eight classes, each of one of eight subjects: all are drawn once in 400 times."""
    confusions = np.zeros((8, 8, 8), int)
    confusions[range(8), range(8), range(8)] = 3
    assert metrics.bootstrap_interval(confusions, metrics.uf1) is None


@pytest.mark.parametrize("name", metrics.STATISTICS)
def test_a_difference_is_drawn_with_the_same_subjects(name):
    first = per_subject(12, 2)
    second = first.copy()  # of the same clips, half of the subjects otherwise
    second[::2] = np.roll(second[::2], 1, axis=-1)
    statistic = metrics.STATISTICS[name]
    found = metrics.bootstrap_difference(first, second, statistic)
    rng, values = random.Random(1), []
    for _ in range(2000):
        chosen = [rng.randrange(12) for _ in range(12)]
        sums = [each[chosen].sum(0) for each in (first, second)]
        values.append(float((statistic(sums[0]) - statistic(sums[1])).mean()))
    np.testing.assert_allclose(found, np.percentile(values, [2.5, 97.5]), atol=0.03)
    turned = metrics.bootstrap_difference(second, first, statistic)
    assert turned == pytest.approx([-found[1], -found[0]])
