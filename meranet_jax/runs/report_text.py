"""Formats the report of a run as text for a terminal and as ``report.md``."""

import shlex
from collections.abc import Sequence

from meranet_jax import megc2019
from meranet_jax.config import TrainConfig
from meranet_jax.data.splits import Job
from meranet_jax.evaluation.summary import NAMES
from meranet_jax.inputs import registry as inputs
from meranet_jax.runs import window_text
from meranet_jax.runs.layout import FIGURES
from meranet_jax.runs.reader import Run

# Description of each protocol, and how its parts are drawn without --split.
_PROTOCOLS = {
    "holdout": ("hold-out, not subject-disjoint", "stratified, as in the paper"),
    "holdout_subject": (
        "subject-disjoint hold-out",
        "stratified as far as the subjects allow",
    ),
    "kfold": (
        "subject-disjoint {folds}-fold cross-validation",
        "stratified as far as the subjects allow",
    ),
    "loso": (
        "leave-one-subject-out, one fold for each subject",
        "subject-disjoint validation parts",
    ),
    "lodo": (
        "leave-one-data-set-out, one fold for each data set",
        "subject-disjoint validation parts of the other data sets",
    ),
    "cross_dataset": (
        "trained on {trained}, tested on {tested}",
        "subject-disjoint validation part of the former",
    ),
}

# Titles of figures in reports, by their names in the run folder.
FIGURE_TITLES = {
    "confusion": "Confusion matrix",
    "spread": "Accuracy of seeds and folds",
    "subjects": "Accuracy by subject",
    "reliability": "Reliability diagram",
    "curves": "Learning curves",
}


def title(run: Run) -> str:
    """Returns recogniser, data set and protocol of a run in one line."""
    return f"{run.config.title} on {run.config.dataset}, protocol {run.config.protocol}"


def _protocol(
    name: str,
    folds: int,
    split: str | None,
    datasets: Sequence[str],
    tested: Sequence[str],
) -> str:
    """Describes a protocol and how its parts were drawn.

    Args:
      name: the protocol.
      folds: number of folds.
      split: the file from which the split was read, if any.
      datasets: the data sets of the run.
      tested: those that are only tested, without configuration.
    """
    protocol, drawn = _PROTOCOLS[name]
    source = f"split read from {split}" if split else drawn
    trained = [d for d in datasets if d.partition("/")[0] not in tested]
    described = protocol.format(
        folds=folds, trained=" and ".join(trained), tested=" and ".join(tested)
    )
    return f"{described}; {source}"


def _devices(start: dict) -> str:
    devices = f"{len(start['devices'])} x {start['device_kind']}"
    if start.get("processes", 1) > 1:
        devices += f" in each of {start['processes']} processes"
    if convolutions := start.get("convolutions"):  # older versions did not save it
        devices += f", convolutions: {convolutions}"
    return devices


def _other_convolutions(starts: Sequence[dict]) -> list[str]:
    """Returns a line if the last start computes convolutions unlike an earlier one."""
    # Before this was saved, a CPU had one form only.
    *earlier, now = (
        start.get("convolutions", "planes" if start["device_kind"] == "cpu" else None)
        for start in starts
    )
    others = sorted({one for one in earlier if one} - {now})
    if not others or now is None:
        return []
    return [
        f"note: earlier starts of this run computed convolutions as {others[0]}, so "
        "the last digits may differ from those of a run that was not stopped"
    ]


def describe_plan(run: Run, jobs: Sequence[Job], missing: Sequence[Job]) -> str:
    """Describes what a start is about to train, and on which clips and devices.

    Args:
      run: the run.
      jobs: the folds of this shard, or all folds.
      missing: those that are not finished.
    """
    config, data, start = run.config, run.data, run.starts[-1]
    folds = len({name for _, _, name in run.folds})
    lines = [
        ", ".join(
            [
                config.title,
                f"preset {config.preset}",
                *([config.settings.precision] if "precision" in config.flags() else []),
                f"on {_devices(start)}",
            ]
        ),
        f"{config.dataset}: {data['clips']} clips of "
        f"{count(data['subjects'], 'subject')}: {class_list(data)}",
        "protocol: "
        + _protocol(
            config.protocol,
            folds,
            config.split,
            config.datasets,
            config.tested_datasets,
        ),
    ]
    if run.origin is not None:
        lines.append(describe_origin(run.origin))
    if len(jobs) == 1:
        sizes = [f"{name} {len(part)}" for name, part in jobs[0].fold.parts.items()]
        lines.append(f"{', '.join(sizes)} clips")
    else:
        lines.append(f"{len(jobs)} folds to train and test")
    if len(missing) < len(jobs):
        lines.append(f"{len(jobs) - len(missing)} of them are finished already")
    lines += window_text.lines(config, data)
    lines += composite_lines(data)
    lines += [f"left out: {n} clips ({why})" for why, n in data["left_out"].items()]
    lines += [f"note: {text}" for text in data["lacking"]]
    lines += _other_convolutions(run.starts)
    return "\n".join(lines)


def composite_lines(data: dict) -> list[str]:
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


def describe_duration(seconds: float) -> str:
    """Describes how long a run takes on a CPU, with a hint."""
    minutes = seconds / 60
    if minutes < 1:
        return "This will take less than a minute on this CPU."
    if minutes < 100:
        duration = count(round(minutes), "minute")
    else:
        duration = f"{minutes / 60:.1f} hours"
    return (
        f"This will take about {duration} on this CPU. --preset=small is intended for "
        "machines without an accelerator."
    )


def count(number: int, noun: str) -> str:
    """Returns a number and a noun, in the plural unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
    lines += datasets_lines(report)
    return "\n".join(lines)


# Metrics of each data set of a composite data set, as MEGC 2019 reports UF1 and UAR
_OF_DATASETS = ("uf1", "uar", "accuracy")

# What the rows of the table by data set are.
_BY_DATASET = """\
The first row is computed from the clips of all data sets, and is not the mean of the
other rows, which are computed from the clips of one data set each. UF1 and UAR of a
data set are averages over the classes that it has test clips of. Intervals are 95 %
confidence intervals."""


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


def _fold_means(means: dict) -> str:
    """Formats the means over folds of a report."""
    numbers = ", ".join(
        f"{NAMES[name].partition(' ')[0]} {means[name]['mean']:.3f}"
        for name in ("accuracy", "uf1", "uar")
    )
    return f"means over folds, not comparable with the pooled numbers above: {numbers}"


def describe_protocol(report: dict) -> str:
    """Describes protocol, classes, test clips and selection behind the results."""
    protocol = _protocol(
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
    return (
        f"Protocol: {protocol}. Classes: {class_list(report['data'])}. "
        f"{clips} of {count(report['subjects'], 'subject')} in "
        f"{count(report['folds'], 'fold')}, {count(len(seeds), 'seed')} "
        f"({', '.join(map(str, seeds))}). "
        f"Tested: {report['selection']}; the test part was read once, after this "
        f"selection. {pooled} are pooled into one confusion matrix, from which every "
        f"number is computed{means}{except_means}."
        + (f" {describe_origin(report['origin'])}" if "origin" in report else "")
    )


def count_test_clips(report: dict) -> str:
    """Returns the number of test clips, and that of a seed if it is smaller."""
    if (least := min(row["clips"] for row in report["by_seed"])) < report["clips"]:
        # Each seed has another test part.
        return f"{count(least, 'test clip')} per seed, {report['clips']} in total,"
    return count(report["clips"], "test clip")


def describe_origin(origin: dict) -> str:
    """Describes the weights that a run started from, and which of them it trained.

    Args:
      origin: see ``origins.InitialWeights.description``.
    """
    trained_on = origin["trained_on"]
    counts = [
        f"unknown subjects of {dataset}"
        if names is None
        else f"{count(len(names), 'subject')} of {dataset}, none of whom is tested"
        for dataset, names in trained_on.items()
    ]
    text = (
        f"Every fold started from the weights of --init={origin['init']}. Their "
        f"origin: {origin['origin']}. They were trained on {'; '.join(counts)}."
    )
    drawn, frozen = origin["drawn"], origin["frozen"]
    if drawn:
        text += (
            f" The weights are for the classes {', '.join(origin['classes'])}, so "
            f"{', '.join(drawn)} {'was' if len(drawn) == 1 else 'were'} initialised "
            "from the seed."
        )
    if frozen:
        text += f" Not trained (--freeze): {', '.join(frozen)}."
    return text


def describe_recogniser(config: TrainConfig, data: dict) -> str:
    """Returns sentences that name the recogniser and its input.

    Args:
      config: of the run.
      data: the result of ``writer.describe_clips``.
    """
    text = (
        f"Recogniser: {config.recogniser.citation}. Input: "
        f"{inputs.find(config.input).title}."
    )
    if data.get("first_as_onset"):
        text += (
            " There are records without an onset frame, so that the reference of each "
            "clip is its first frame."
        )
    return text


def class_list(data: dict) -> str:
    """Lists the classes of ``data`` in ``config.json``, with their numbers of clips."""
    parts = []
    for name, counts in data["counts"].items():
        total = sum(counts.values())
        if list(counts) == [name]:
            parts.append(f"{name} ({total} clips)")
        else:
            of = ", ".join(f"{e} {n}" for e, n in counts.items() if n)
            parts.append(f"{name} ({total} clips: {of})")
    return ", ".join(parts)


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
        describe_recogniser(config, data),
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
    lines += datasets_table(report)
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
    lines += [f"- {line}" for line in composite_lines(data)]
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
            + f", on {_devices(start)}",
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


def interval_text(found: dict) -> str:
    """Formats the mean of a metric with its interval."""
    if found["interval"] is None:
        return f"{found['mean']:.3f}"
    return "{:.3f} ({:.3f} to {:.3f})".format(found["mean"], *found["interval"])


def cell(text: str) -> str:
    """Escapes a name given by the user, since a bar would end the cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _number_or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
