"""Formats the report of a cross-data-set evaluation as text."""

import shlex

from meranet_jax.evaluation.summary import NAMES
from meranet_jax.runs import composite_text, report_text, run_text
from meranet_jax.runs.formatters import cell
from meranet_jax.runs.layout import CROSS_FIGURES
from meranet_jax.runs.reader import Run

_MODELS = """\
Each seed and fold of the run has a model of its own. Each of these models has predicted
every clip of the other data set, and its metrics are computed from its own confusion
matrix. The value is the mean over the models, with the lowest and the highest; sd is
their standard deviation. Intervals resample the subjects of the other data set. The
models of different folds share most of their training clips, so sd is smaller than that
of independent training sets. The ensemble is another classifier: it predicts from the
mean of the probabilities of all models."""


def describe_evaluation(report: dict) -> str:
    """Describes what was trained and tested on what, in one paragraph.

    Args:
      report: the result of ``cross_dataset.evaluate``.
    """
    trained, tested = (", ".join(report[k]) for k in ("trained_on", "tested_on"))
    seeds = "seed" + ("s " if len(report["seeds"]) > 1 else " ")
    seeds += ", ".join(map(str, report["seeds"]))
    unused = [n for n in report["classes_of_run"] if n not in report["classes_used"]]
    unknown = ""
    if datasets := report["unknown_subjects"]:
        unknown = (
            " as far as is known (it was also trained on unknown subjects of "
            f"{', '.join(datasets)})"
        )
    text = (
        f"Cross-data-set result: {report['model']} trained on {trained} (protocol "
        f"{report['protocol']}, {report['folds']} "
        f"fold{'s' if report['folds'] > 1 else ''}, {seeds}), tested on {tested}: "
        f"{report['clips']} clips of {report['subjects']} "
        f"subject{'s' if report['subjects'] > 1 else ''}, none of whom the run was "
        f"trained on{unknown}. Classes of the run that are tested: "
        f"{run_text.class_list(report['data'])}"
    )
    if unused:
        text += (
            f"; not tested: {', '.join(unused)}. Probabilities are restricted to the "
            "tested classes and divided by their sum"
        )
    windows = report.get("windows", {})  # older versions did not save them
    if windows.get("training") and windows.get("test"):
        text += (
            f". Window around the apex: {windows['training']} in training, "
            f"{windows['test']} in this test"
        )
    return (
        f"{text}. Tested weights: {report['selection']}. Nothing was selected on the "
        "other data set."
    )


def describe(report: dict) -> str:
    """Formats the main results for a terminal.

    Args:
      report: the result of ``cross_dataset.evaluate``.
    """
    lines = [describe_evaluation(report)]
    lines += [f"{NAMES[name]}: {_number(report, name)}" for name in NAMES]
    width, models = max(map(len, report["by_class"])), len(report["by_model"])
    of = f", mean of {models} models" if models > 1 else ""
    for name, row in report["by_class"].items():
        lines.append(
            f"  {name:{width}}  recall {row['recall']:.3f}, F1 {row['f1']:.3f} "
            f"({row['clips'] // models} clips{of})"
        )
    lines += composite_text.datasets_lines(report)
    if report["ensemble"] is not None:
        lines.append(
            f"ensemble (mean of the probabilities of {models} models): "
            f"{_main_numbers(report['ensemble'])}"
        )
    return "\n".join(lines)


def _number(report: dict, name: str) -> str:
    """Formats a metric with its uncertainty and the kind of interval."""
    found, models = report["metrics"][name], report["by_model"]
    text = f"{found['mean']:.3f}"
    if len(models) > 1:
        low, high = found["range"]
        text += f" (mean of {len(models)} models, {low:.3f} to {high:.3f})"
    elif name == "accuracy":
        text += f" ({models[0]['correct']} of {models[0]['clips']} clips)"
    if found["interval"] is not None:
        by = "Wilson" if name == "accuracy" and len(models) == 1 else "over subjects"
        low, high = found["interval"]
        text += f", 95 % interval {low:.3f} to {high:.3f} ({by})"
    return text


def _main_numbers(part: dict) -> str:
    return ", ".join(
        f"{NAMES[name].partition(' ')[0]} {part['metrics'][name]['mean']:.3f}"
        for name in ("accuracy", "uf1", "uar")
    )


def to_markdown(run: Run, report: dict) -> str:
    """Formats a report as ``report.md``.

    Args:
      run: the run whose weights were tested.
      report: the result of ``cross_dataset.evaluate``.
    """
    config, data = run.config, report["data"]
    several = len(report["by_model"]) > 1
    lines = [
        f"# {report['model']}: trained on {', '.join(report['trained_on'])}, tested on "
        f"{', '.join(report['tested_on'])}",
        "",
        describe_evaluation(report),
        "",
        f"{run_text.describe_recogniser(config, data)} Run: `{run.path.name}`.",
        "",
        "## Results",
        "",
    ]
    if several:
        lines += [_MODELS, ""]
    lines += [
        "| metric | value | 95 % interval |"
        + (" sd | lowest | highest | ensemble | 95 % interval |" if several else ""),
        "|---|---|---|" + ("---|---|---|---|---|" if several else ""),
    ]
    for name in NAMES:
        found = report["metrics"][name]
        row = f"| {NAMES[name]} | {found['mean']:.3f} | {_interval(found)} |"
        if several:
            both = report["ensemble"]["metrics"][name]
            low, high = found["range"]
            row += f" {found['sd']:.3f} | {low:.3f} | {high:.3f} |"
            row += f" {both['mean']:.3f} | {_interval(both)} |"
        lines.append(row)
    lines += ["", report_text.METRIC_DEFINITIONS, ""]
    of = f", mean of {len(report['by_model'])} models" if several else ""
    lines += [f"| class | emotions | clips | recall{of} | F1{of} |"]
    lines.append("|---|---|---|---|---|")
    for name, counts in data["counts"].items():
        row = report["by_class"][name]
        of = ", ".join(f"{emotion} {n}" for emotion, n in counts.items())
        lines.append(
            f"| {cell(name)} | {cell(of)} | "
            f"{sum(counts.values())} | {row['recall']:.3f} | {row['f1']:.3f} |"
        )
    lines += composite_text.datasets_table(report)
    if several:
        lines += ["", "## By model", "", "| seed | fold | accuracy | UF1 | UAR |"]
        lines.append("|---|---|---|---|---|")
        for model in report["by_model"]:
            lines.append(
                f"| {model['seed']} | {cell(model['fold'])} | "
                f"{model['accuracy']:.3f} | {model['uf1']:.3f} | {model['uar']:.3f} |"
            )
    lines += ["", "## Figures", ""]
    lines += [
        f"![{report_text.FIGURE_TITLES[name]}]({name}.png)" for name in CROSS_FIGURES
    ]
    if composite := composite_text.megc2019_lines(data):
        lines += ["", "## Clips of MEGC 2019", ""]
        lines += [f"- {line}" for line in composite]
    if data["left_out"]:
        lines += ["", "## Clips left out", ""]
        lines += [f"- {n} clips: {why}" for why, n in data["left_out"].items()]
    start = report["start"]
    settings = ", ".join(f"{n} {v}" for n, v in report["settings"].items())
    lines += [
        "",
        "## Reproducing this evaluation",
        "",
        f"- {start['date']}: `python {shlex.join(start['command'][1:])}`",
        f"  commit {start['commit'] or 'unknown'}, Python {start['python']}, "
        + ", ".join(f"{n} {v}" for n, v in start["packages"].items()),
        "",
        f"Settings: {settings}. Clips are made as those of the run, whose "
        "`config.json` has all settings.",
        "",
    ]
    return "\n".join(lines)


def _interval(found: dict) -> str:
    if found["interval"] is None:
        return ""
    return "{:.3f} to {:.3f}".format(*found["interval"])
