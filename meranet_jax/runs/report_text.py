"""Formats the report of a run as text for a terminal and as ``report.md``."""

import shlex
from collections.abc import Sequence

from meranet_jax.evaluation.summary import NAMES
from meranet_jax.runs import composite_text, run_text, window_text
from meranet_jax.runs.formatters import cell, count
from meranet_jax.runs.layout import FIGURES
from meranet_jax.runs.reader import Run

# Titles of figures in reports, by their names in the run folder.
FIGURE_TITLES = {
    "confusion": "Confusion matrix",
    "spread": "Accuracy of seeds and folds",
    "subjects": "Accuracy by subject",
    "reliability": "Reliability diagram",
    "curves": "Learning curves",
}


def describe(report: dict) -> str:
    """Formats the main results of a report for a terminal.

    Args:
      report: the result of ``report.make``.
    """
    return f"{describe_protocol(report)}\n{describe_results(report)}"


def describe_results(report: dict) -> str:
    """Formats the numbers of a report for a terminal.

    Args:
      report: the result of ``report.make``, or another one with its results.
    """
    lines = [
        f"{name}: {_number(report, key)}"
        for key, name in NAMES.items()
        if key in report["metrics"]
    ]
    width = max(map(len, report["by_class"]))
    for name, row in report["by_class"].items():
        lines.append(f"  {name:{width}}  {_of_class(row, report['seeds'])}")
    if "fold_means" in report:
        lines.append(_fold_means(report["fold_means"]))
    lines += composite_text.datasets_lines(report)
    return "\n".join(lines)


def _fold_means(means: dict) -> str:
    """Formats the means over folds of a report."""
    numbers = ", ".join(
        f"{NAMES[name].partition(' ')[0]} {means[name]['mean']:.3f}"
        for name in ("accuracy", "uf1", "uar")
    )
    return f"means over folds, not comparable with the pooled numbers above: {numbers}"


def describe_protocol(report: dict) -> str:
    """Describes protocol, classes, test clips and selection behind the results."""
    protocol = run_text.protocol_text(
        report["protocol"],
        report["folds"],
        report["split"],
        report["datasets"],
        report.get("tested_datasets", ()),
    )
    seeds, clips = report["seeds"], count_test_clips(report)
    several = _several(report)
    pooled = "The predictions of all folds" + (" of a seed" if several else "")
    means = "; numbers are means over the seeds" if several else ""
    except_means = ", except the means over folds" if "fold_means" in report else ""
    origin = ""
    if "origin" in report:
        origin = f" {run_text.describe_origin(report['origin'])}"
    return (
        f"Protocol: {protocol}. Classes: {run_text.class_list(report['data'])}. "
        f"{clips} of {count(report['subjects'], 'subject')} in "
        f"{count(report['folds'], 'fold')}, {count(len(seeds), 'seed')} "
        f"({', '.join(map(str, seeds))}). "
        f"Tested: {report['selection']}; the test part was read once, after this "
        f"selection. {pooled} are pooled into one confusion matrix, from which every "
        f"number is computed{means}{except_means}.{origin}"
    )


def count_test_clips(report: dict) -> str:
    """Returns the number of test clips, and that of a seed if it is smaller."""
    if (least := min(row["clips"] for row in report["by_seed"])) < report["clips"]:
        # Each seed has another test part.
        return f"{count(least, 'test clip')} per seed, {report['clips']} in total,"
    return count(report["clips"], "test clip")


def _number(report: dict, name: str) -> str:
    """Formats a metric with its uncertainty and the kind of interval."""
    found = report["metrics"][name]
    text = f"{found['mean']:.3f}"
    seeds = len(found["values"])
    if seeds > 1:
        text += f" (mean of {seeds} seeds, standard deviation {found['sd']:.3f})"
    elif name == "accuracy":
        row = report["by_seed"][0]
        text += f" ({row['correct']} of {row['clips']} clips)"
    if found["interval"] is not None:
        low, high = found["interval"]
        by = "Wilson" if name == "accuracy" and seeds == 1 else "over subjects"
        text += f", 95 % interval {low:.3f} to {high:.3f} ({by})"
    return text


def _of_class(row: dict, seeds: list[int]) -> str:
    recall = "no test clip" if row["recall"] is None else f"recall {row['recall']:.3f}"
    f1 = "" if row["f1"] is None else f", F1 {row['f1']:.3f}"
    if len(seeds) > 1:  # the clips of all seeds are counted
        return f"{recall}{f1} ({row['clips']} predictions, mean of {len(seeds)} seeds)"
    return f"{recall}{f1} ({row['clips']} test clips)"


# What the metrics of a report are, and their intervals.
METRIC_DEFINITIONS = """\
UF1 (unweighted F1) is the F1 score of a class, 2 TP / (2 TP + FP + FN) from the pooled
confusion matrix, averaged over the classes that have a test clip (MEGC 2019). UAR
(unweighted average recall) is the recall of a class, TP / N, averaged in the same way.
Macro F1 also includes classes that are predicted but have no test clip. Weighted F1
weights classes by their number of clips. Micro F1 equals accuracy. The expected
calibration error uses 15 bins of equal width. Intervals are 95 % confidence intervals.
Wilson's interval assumes independent clips. The others are percentiles of a bootstrap
over subjects, since clips of one subject are not independent. They describe the
variation between subjects; the standard deviation over seeds (sd) describes that
between seeds. If the results of all subjects are equal, the interval over subjects has
no width, which does not mean that the value is exact."""


# What the means over folds are, and why they differ from the pooled numbers.
_FOLD_MEANS = """\
Published numbers are pooled or means over folds. The two are not comparable: in a mean
over folds every fold counts the same, whatever its number of clips, and UF1 and UAR of
a fold are averages over the classes that have a test clip in it. Compare these numbers
only with other means over folds."""


def to_markdown(run: Run, report: dict, figures: Sequence[str] = FIGURES) -> str:
    """Formats a report as ``report.md``, for a paper's supplement.

    Args:
      run: the run.
      report: the result of ``report.make``.
      figures: the names of the figures to show, of ``layout.FIGURES``.
    """
    config, data = run.config, report["data"]
    lines = [
        f"# {run.config.title} on {', '.join(report['datasets'])}",
        "",
        describe_protocol(report),
        "",
        run_text.describe_recogniser(config, data),
        "",
        "## Results",
        "",
        "| metric | value | 95 % interval |"
        + (" sd | by seed |" if _several(report) else ""),
        "|---|---|---|" + ("---|---|" if _several(report) else ""),
    ]
    lines += [_row(report, name) for name in NAMES]
    of = f", mean of {len(report['seeds'])} seeds" if _several(report) else ""
    lines += ["", METRIC_DEFINITIONS, ""]
    counted = "predictions" if _several(report) else "test clips"
    lines += [f"| class | {counted} | recall{of} | F1{of} |", "|---|---|---|---|"]
    for name, row in report["by_class"].items():
        lines.append(
            f"| {cell(name)} | {row['clips']} | {_number_or_none(row['recall'])} "
            f"| {_number_or_none(row['f1'])} |"
        )
    if "fold_means" in report:
        lines += ["", "## Means over folds", "", _FOLD_MEANS, ""]
        lines += ["| metric | mean over folds |", "|---|---|"]
        lines += [
            f"| {NAMES[name]} | {report['fold_means'][name]['mean']:.3f} |"
            for name in ("accuracy", "uf1", "uar")
        ]
    lines += composite_text.datasets_table(report)
    lines += [
        "",
        "## Figures",
        "",
        *(
            f"![{FIGURE_TITLES[name]}]({run.layout.figure(name).name})"
            for name in figures
        ),
        "",
        "## Clips",
        "",
        f"{data['clips']} clips of {count(data['subjects'], 'subject')}.",
        *(f"{line[0].upper()}{line[1:]}." for line in window_text.lines(config, data)),
        "",
        "| class | emotions | clips |",
        "|---|---|---|",
    ]
    for name, counts in data["counts"].items():
        of = ", ".join(f"{emotion} {n}" for emotion, n in counts.items())
        lines.append(f"| {cell(name)} | {cell(of)} | {sum(counts.values())} |")
    lines += [f"- {line}" for line in composite_text.megc2019_lines(data)]
    if data["left_out"]:
        lines += ["", "Clips left out:", ""]
        lines += [f"- {n} clips: {why}" for why, n in data["left_out"].items()]
    if data["lacking"]:
        lines += ["", "Classes without training clips:", ""]
        lines += [f"- {text}" for text in data["lacking"]]
    lines += ["", "## Reproducing this run", ""]
    for start in run.starts:
        lines += [
            f"- {start['date']}: `python {shlex.join(start['command'][1:])}`",
            f"  commit {start['commit'] or 'unknown'}, Python {start['python']}, "
            + ", ".join(f"{n} {v}" for n, v in start["packages"].items())
            + f", on {run_text.describe_devices(start)}",
        ]
    settings = ", ".join(f"{n} {v}" for n, v in config.flags().items() if v is not None)
    lines += ["", f"Settings: {settings}.", ""]
    return "\n".join(lines)


def _several(report: dict) -> bool:
    return len(report["seeds"]) > 1


def _row(report: dict, name: str) -> str:
    found = report["metrics"][name]
    interval = (
        ""
        if found["interval"] is None
        else "{:.3f} to {:.3f}".format(*found["interval"])
    )
    row = f"| {NAMES[name]} | {found['mean']:.3f} | {interval} |"
    if _several(report):
        values = ", ".join(f"{value:.3f}" for value in found["values"])
        row += f" {found['sd']:.3f} | {values} |"
    return row


def _number_or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
