"""Two runs on the same clips: is one better?"""

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.evaluation import metrics, summary
from meranet_jax.evaluation.predictions import Predictions

# What is compared, by the names that people read.
NAMES = {"accuracy": "accuracy", "uf1": "UF1", "uar": "UAR"}


def compare(first: Predictions, second: Predictions) -> dict:
    """How much better the first is.

    Args:
      first: predictions of a run.
      second: predictions of another run on the same clips.

    Returns:
      ``metrics``: for each the value of both, averaged over seeds, their difference,
      that of each seed, and 95 % intervals: from a bootstrap over subjects and, of
      several seeds, over these; ``mcnemar``: for each pair of seeds how many clips
      only one of both has right, and the p-value.

    Raises:
      UserError: if clips, their classes or their number of seeds differ.
    """
    first, second = _align(first, second)
    counts = [summary.confusions(each) for each in (first, second)]
    compared = {}
    for name, statistic in metrics.STATISTICS.items():
        if name in NAMES:
            by_seed = [statistic(c.sum(0)).reshape(-1) for c in counts]
            values = [float(seeds.mean()) for seeds in by_seed]
            differences = by_seed[0] - by_seed[1]
            compared[name] = {
                "first": values[0],
                "second": values[1],
                "difference": values[0] - values[1],
                "interval": metrics.bootstrap_difference(*counts, statistic),
                "by_seed": differences.tolist(),
                "seeds_interval": metrics.seeds_interval(differences),
            }
    tests = []
    for seed in np.unique(first.seeds):
        here = first.seeds == seed
        only_first = int((first.right & ~second.right)[here].sum())
        only_second = int((second.right & ~first.right)[here].sum())
        tests.append(
            {
                "seed": int(seed),
                "only_first": only_first,
                "only_second": only_second,
                "p": metrics.mcnemar(only_first, only_second),
            }
        )
    return {
        "clips": len(set(first.clips.tolist())),
        "subjects": len(set(first.subjects.tolist())),
        "metrics": compared,
        "mcnemar": tests,
    }


def better(row: dict) -> int:
    """Which of two runs is better by a metric: 1 the first, -1 the second, 0 neither.

    Neither, unless both intervals, over subjects and over seeds, lie on one side of 0:
    one seed tells nothing of what another would give.

    Args:
      row: of ``compare``'s ``metrics``.
    """
    intervals = row["interval"], row["seeds_interval"]
    if None in intervals:
        return 0
    lows, highs = zip(*intervals, strict=True)
    return (min(lows) > 0) - (max(highs) < 0)


def describe(compared: dict, first: str, second: str) -> str:
    """The comparison in words."""
    lines = [
        f"A: {first}",
        f"B: {second}",
        f"The same {compared['clips']} test clips of {compared['subjects']} subjects, "
        f"{len(compared['mcnemar'])} seed(s). A - B, 95 % intervals:",
    ]
    verdicts = {1: "A is better", -1: "B is better", 0: "which is better is not told"}
    for name, row in compared["metrics"].items():
        intervals = "no interval of a single subject"
        if row["interval"] is not None:
            intervals = "over subjects {:+.3f} to {:+.3f}".format(*row["interval"])
        if row["seeds_interval"] is None:
            intervals += ", no interval of a single seed"
        else:
            low, high = row["seeds_interval"]
            intervals += f", over seeds {low:+.3f} to {high:+.3f}"
        lines.append(
            f"  {NAMES[name]:8}  A {row['first']:.3f}  B {row['second']:.3f}  "
            f"{row['difference']:+.3f}  ({intervals}): {verdicts[better(row)]}"
        )
    lines.append("McNemar's exact test, two-sided; it takes clips for independent:")
    for row in compared["mcnemar"]:
        lines.append(
            f"  seed {row['seed']}: only A right {row['only_first']}, only B right "
            f"{row['only_second']}, p = {row['p']:.3g}"
        )
    return "\n".join(lines)


def _align(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both in the same order, with the same numbers for classes.

    Raises:
      UserError: if they cannot be.
    """
    if set(first.classes) != set(second.classes):
        raise UserError(
            "The runs tell other classes apart: A "
            f"{', '.join(first.classes)}; B {', '.join(second.classes)}."
        )
    seeds = [sorted(set(each.seeds.tolist())) for each in (first, second)]
    # Single runs can be compared whatever their seeds; of several each has its own.
    paired = len(seeds[0]) == len(seeds[1]) == 1
    if not paired and seeds[0] != seeds[1]:
        raise UserError(
            f"The runs have other seeds: A {', '.join(map(str, seeds[0]))}; B "
            f"{', '.join(map(str, seeds[1]))}."
        )
    second = second.with_classes(first.classes)
    keys = []
    for each in (first, second):
        of = [0] * len(each) if paired else each.seeds.tolist()
        keys.append(list(zip(of, each.clips.tolist(), strict=True)))
    only = [sorted(set(keys[i]) - set(keys[1 - i])) for i in (0, 1)]
    if any(only):
        said = [
            f"only {name} has {len(clips)} test clips that the other has not, "
            f"{clips[0][1]} first"
            for name, clips in zip("AB", only, strict=True)
            if clips
        ]
        raise UserError(
            f"The runs were tested on other clips: {'; '.join(said)}. Give the second "
            "the split of the first: --split=RUN/split.json."
        )
    orders = [sorted(range(len(k)), key=k.__getitem__) for k in keys]
    first, second = first.where(orders[0]), second.where(orders[1])
    if (differing := first.truth != second.truth).any():
        clip = first.clips[differing][0]
        raise UserError(
            f"The runs have other labels for {differing.sum()} clips, {clip} first."
        )
    if (differing := first.subjects != second.subjects).any():
        clip = first.clips[differing][0]
        raise UserError(f"The runs have other subjects for {clip}.")
    return first, second
