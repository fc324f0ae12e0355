import numpy as np
import pytest
from sklearn.cluster import KMeans

from meranet_jax.descriptors import k_means

PATTERNS = np.array([[n >> bit & 1 for bit in range(8)] for n in range(256)], float)


def error(centres, weights):
    distances = ((PATTERNS - centres[k_means.assign(PATTERNS, centres)]) ** 2).sum(-1)
    return (weights * distances).sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clusters_are_as_good_as_those_of_scikit_learn(seed):
    weights = np.random.default_rng(seed).dirichlet(np.full(256, 0.3)) + 1e-6
    expected = KMeans(64, n_init=4, random_state=seed)
    expected.fit(PATTERNS, sample_weight=weights)
    centres = k_means.cluster(PATTERNS, weights, 64, seed)
    assert centres.shape == (64, 8)
    assert error(centres, weights) < 1.05 * expected.inertia_


def test_centres_are_weighted_means_of_their_points():
    weights = np.random.default_rng(0).uniform(0.1, 1, 256)
    centres = k_means.cluster(PATTERNS, weights, 10, 0)
    nearest = k_means.assign(PATTERNS, centres)
    for number in range(10):
        own = nearest == number
        mean = np.average(PATTERNS[own], axis=0, weights=weights[own])
        np.testing.assert_allclose(centres[number], mean)


@pytest.mark.parametrize("number", [1, 7])
def test_as_many_clusters_as_points(number):
    centres = k_means.cluster(PATTERNS[:number], np.arange(1.0, number + 1), number, 0)
    assert sorted(centres.tolist()) == sorted(PATTERNS[:number].tolist())


def test_equal_seeds_give_equal_clusters():
    weights = np.random.default_rng(0).uniform(0.1, 1, 256)
    first, again, other = (k_means.cluster(PATTERNS, weights, 9, s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
