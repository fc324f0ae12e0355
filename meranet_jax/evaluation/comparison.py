"""Paired comparison of two runs on the same test clips."""

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.evaluation import metrics, summary
from meranet_jax.evaluation.predictions import Predictions

# Keys of the compared metrics and the names that users see.
NAMES = {"accuracy": "accuracy", "uf1": "UF1", "uar": "UAR"}


def compare(first: Predictions, second: Predictions) -> dict:
    """Compares two runs by the differences of their metrics, first - second.

    Args:
      first: the predictions of one run.
      second: the predictions of another run on the same clips and seeds. Two runs of
        one seed each may have different seeds.

    Returns:
      ``clips`` and ``subjects``: their numbers.
      ``metrics``: for each metric in ``NAMES`` the values ``first`` and ``second``,
      averaged over seeds, their ``difference``, the differences ``by_seed``, and 95 %
      confidence intervals of the difference: ``interval`` from a bootstrap over
      subjects (None for one subject) and ``seeds_interval``, Student's t over seeds
      (None for one seed).
      ``mcnemar``: for each seed the numbers of clips that only one run has correct,
      ``only_first`` and ``only_second``, and the ``p`` of McNemar's exact test.

    Raises:
      UserError: if the runs differ in classes, seeds, clips, labels or subjects.
    """
    first, second = _align(first, second)
    confusions = summary.confusion_matrices(first), summary.confusion_matrices(second)
    compared = {}
    for name, statistic in metrics.STATISTICS.items():
        if name in NAMES:
            by_seed = [statistic(c.sum(0)).reshape(-1) for c in confusions]
            values = [float(seeds.mean()) for seeds in by_seed]
            differences = by_seed[0] - by_seed[1]
            compared[name] = {
                "first": values[0],
                "second": values[1],
                "difference": values[0] - values[1],
                "interval": metrics.bootstrap_difference(*confusions, statistic),
                "by_seed": differences.tolist(),
                "seeds_interval": metrics.t_interval(differences),
            }
    tests = []
    for seed in np.unique(first.seeds):
        of_seed = first.seeds == seed
        only_first = int((first.correct & ~second.correct)[of_seed].sum())
        only_second = int((second.correct & ~first.correct)[of_seed].sum())
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


def significant_winner(row: dict) -> int:
    """Returns which of two runs is significantly better by one metric.

    A difference is significant if both 95 % confidence intervals, over subjects and
    over seeds, exclude 0. It never is for a single seed, since one seed gives no
    estimate of the variation between seeds.

    Args:
      row: the entry of one metric in the ``metrics`` of ``compare``.

    Returns:
      1 for the first run, -1 for the second, 0 if the difference is not significant.
    """
    intervals = row["interval"], row["seeds_interval"]
    if None in intervals:
        return 0
    lows, highs = zip(*intervals, strict=True)
    return (min(lows) > 0) - (max(highs) < 0)


def describe(compared: dict, first: str, second: str) -> str:
    """Formats a comparison as text for a terminal.

    Args:
      compared: the result of ``compare``.
      first: the title of the first run, A.
      second: the title of the second run, B.
    """
    lines = [
        f"A: {first}",
        f"B: {second}",
        f"The same {compared['clips']} test clips of {compared['subjects']} subjects, "
        f"{len(compared['mcnemar'])} seed(s). A - B with 95 % confidence intervals:",
    ]
    verdicts = {1: "A is better", -1: "B is better", 0: "no significant difference"}
    for name, row in compared["metrics"].items():
        intervals = "no interval over subjects: too few"
        if row["interval"] is not None:
            intervals = "over subjects {:+.3f} to {:+.3f}".format(*row["interval"])
        if row["seeds_interval"] is None:
            intervals += ", no interval over seeds: only one"
        else:
            low, high = row["seeds_interval"]
            intervals += f", over seeds {low:+.3f} to {high:+.3f}"
        verdict = verdicts[significant_winner(row)]
        if None in (row["interval"], row["seeds_interval"]):
            verdict = "significance unknown"
        lines.append(
            f"  {NAMES[name]:8}  A {row['first']:.3f}  B {row['second']:.3f}  "
            f"{row['difference']:+.3f}  ({intervals}): {verdict}"
        )
    lines.append("McNemar's exact test, two-sided, assumes that clips are independent:")
    for row in compared["mcnemar"]:
        lines.append(
            f"  seed {row['seed']}: only A correct {row['only_first']}, only B correct "
            f"{row['only_second']}, p = {row['p']:.3g}"
        )
    return "\n".join(lines)


def _align(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Returns both with clips and classes in the same order.

    Raises:
      UserError: if they differ in classes, seeds, clips, labels or subjects.
    """
    if set(first.classes) != set(second.classes):
        raise UserError(
            f"The runs have different classes: A {', '.join(first.classes)}; B "
            f"{', '.join(second.classes)}. Compare runs with the same --classes."
        )
    seeds = [sorted(set(each.seeds.tolist())) for each in (first, second)]
    # Two runs of one seed each are compared even if the seeds differ.
    single = len(seeds[0]) == len(seeds[1]) == 1
    if not single and seeds[0] != seeds[1]:
        raise UserError(
            f"The runs have different seeds: A {', '.join(map(str, seeds[0]))}; B "
            f"{', '.join(map(str, seeds[1]))}. Compare runs with the same --seeds."
        )
    second = second.with_classes(first.classes)
    keys = []
    for each in (first, second):
        of_clip = [0] * len(each) if single else each.seeds.tolist()
        keys.append(list(zip(of_clip, each.clips.tolist(), strict=True)))
    only = [sorted(set(keys[i]) - set(keys[1 - i])) for i in (0, 1)]
    if any(only):
        counts = [
            f"{len(clips)} are only in {name} (first: {clips[0][1]})"
            for name, clips in zip("AB", only, strict=True)
            if clips
        ]
        raise UserError(
            f"The runs have different test clips: {'; '.join(counts)}. Train the "
            "second run on the split of the first: --split=RUN/split.json."
        )
    orders = [np.array(sorted(range(len(k)), key=k.__getitem__), int) for k in keys]
    first, second = first.select(orders[0]), second.select(orders[1])
    if (differing := first.truth != second.truth).any():
        clip = first.clips[differing][0]
        raise UserError(
            f"The runs have different labels for {differing.sum()} clips (first: "
            f"{clip}). Compare runs with the same --label and --classes."
        )
    if (differing := first.subjects != second.subjects).any():
        clip = first.clips[differing][0]
        raise UserError(
            f"The runs have different subjects for {differing.sum()} clips (first: "
            f"{clip}). Compare runs on the same records."
        )
    return first, second
