"""Formats results and clips of each data set of a composite data set as text."""

from meranet_jax import megc2019
from meranet_jax.evaluation.summary import NAMES
from meranet_jax.runs.formatters import count, interval_text

# Metrics of each data set of a composite data set, as MEGC 2019 reports UF1 and UAR
_OF_DATASETS = ("uf1", "uar", "accuracy")

# What the rows of the table by data set are.
_BY_DATASET = """\
The first row is computed from the clips of all data sets, and is not the mean of the
other rows, which are computed from the clips of one data set each. UF1 and UAR of a
data set are averages over the classes that it has test clips of. Intervals are 95 %
confidence intervals."""


def megc2019_lines(data: dict) -> list[str]:
    """Compares the clips of each data set with those that MEGC 2019 has of it.

    Args:
      data: the result of ``writer.describe_clips``.
    """
    # Older versions did not choose clips by the rule of MEGC 2019.
    return [
        f"{name}: {rule.describe(counts)}"
        for name, counts in data.get("megc2019", {}).items()
        if (rule := megc2019.find(name)) is not None
    ]


def datasets_lines(report: dict) -> list[str]:
    """Returns lines on each data set of a composite data set, for a terminal.

    Args:
      report: the result of ``report.make``, or another one with its results.
    """
    if "by_dataset" not in report:
        return []
    lines = ["by data set, with 95 % intervals:"]
    for name, part in report["by_dataset"].items():
        numbers = ", ".join(
            f"{NAMES[n].partition(' ')[0]} {interval_text(part['metrics'][n])}"
            for n in _OF_DATASETS
        )
        clips = count(part["clips"], "clip")
        lines.append(
            f"  {name}: {numbers} ({clips} of {count(part['subjects'], 'subject')})"
        )
    return lines


def datasets_table(report: dict) -> list[str]:
    """Returns the table of metrics by data set for ``report.md``; empty for one.

    Args:
      report: the result of ``report.make``, or another one with its results.
    """
    if "by_dataset" not in report:
        return []
    names = " | ".join(NAMES[name].partition(" ")[0] for name in _OF_DATASETS)
    lines = ["", "## By data set", "", _BY_DATASET, ""]
    lines.append(f"| data set | clips | subjects | {names} |")
    lines.append("|---|---|---|" + "---|" * len(_OF_DATASETS))
    for name, part in {"all": report, **report["by_dataset"]}.items():
        numbers = " | ".join(interval_text(part["metrics"][n]) for n in _OF_DATASETS)
        lines.append(f"| {name} | {part['clips']} | {part['subjects']} | {numbers} |")
    return lines
