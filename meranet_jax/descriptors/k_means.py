"""k-means of a few hundred weighted points.

For so few points scikit-learn's needs several times longer, and starts threads of its
own in each of the threads that fit folds.
"""

import numpy as np

# Starts, of which the best is kept, and the most iterations of each.
_STARTS = 4
_ITERATIONS = 100


def cluster(
    points: np.ndarray, weights: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """Divides weighted points into clusters.

    Args:
      points: [N, D], different from each other.
      weights: positive, [N].
      number: of clusters, from 1 to N.
      seed: of the starts, which k-means++ draws.

    Returns:
      Centres of the clusters, float64 [number, D].
    """
    points = np.asarray(points, np.float64)
    rng = np.random.default_rng(seed)
    best, smallest_error = np.empty((0, 0)), np.inf
    for _ in range(_STARTS):
        centres = _draw_centres(points, weights, number, rng)
        nearest = assign(points, centres)
        for _ in range(_ITERATIONS):
            members = np.zeros((number, len(points)))
            members[nearest, np.arange(len(points))] = weights
            total = members.sum(1, keepdims=True)
            # A centre without points stays where it is.
            means = members @ points / np.where(total > 0, total, 1)
            centres = np.where(total > 0, means, centres)
            before, nearest = nearest, assign(points, centres)
            if (before == nearest).all():
                break
        error = (weights * ((points - centres[nearest]) ** 2).sum(-1)).sum()
        if error < smallest_error:
            best, smallest_error = centres, error
    return best


def assign(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns the index of the nearest centre of each point; of equal ones the first.

    Args:
      points: [N, D].
      centres: [K, D].
    """
    return _squared_distances(points, centres).argmin(-1)


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns the squared distances, [N, K]."""
    return ((points[:, None] - centres) ** 2).sum(-1)


def _draw_centres(
    points: np.ndarray, weights: np.ndarray, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws different points, each far from those before it.

    D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
    2007; of several draws the one that reduces the error most is taken.
    """
    between = _squared_distances(points, points)
    draws = 2 + int(np.log(number))
    chosen = [rng.choice(len(points), p=weights / weights.sum())]
    distances = between[chosen[0]]
    while len(chosen) < number:
        errors = weights * distances
        drawn = rng.choice(len(points), draws, p=errors / errors.sum())
        reduced = np.minimum(distances, between[drawn])  # [draws, N]
        best = (reduced @ weights).argmin()
        chosen.append(drawn[best])
        distances = reduced[best]
    return points[chosen]
