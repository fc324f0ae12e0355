"""A report in words: for a terminal, and as ``report.md``."""

import shlex
from collections.abc import Iterable, Sequence

from meranet_jax.data.splits import Job
from meranet_jax.evaluation.summary import NAMES
from meranet_jax.runs.reader import Run

# What each protocol is, and how its parts are drawn unless they are given.
_PROTOCOLS = {
    "holdout": ("hold-out, not subject-disjoint", "stratified, as in the paper"),
    "holdout_subject": ("hold-out of whole subjects", "as stratified as they allow"),
    "kfold": (
        "{folds}-fold cross-validation over whole subjects, each once in a test part",
        "as stratified as they allow",
    ),
    "loso": (
        "leave one subject out, each subject once the test part",
        "validation parts of whole subjects",
    ),
}


def title(run: Run) -> str:
    """A run in a line."""
    return f"{run.config.title} on {run.config.dataset}, protocol {run.config.protocol}"


def _protocol(name: str, folds: int, split: str | None) -> str:
    what, drawn = _PROTOCOLS[name]
    given = f"divided as {split} says" if split else drawn
    return f"{what.format(folds=folds)}; {given}"


def _devices(start: dict) -> str:
    devices = f"{len(start['devices'])} x {start['device_kind']}"
    if start.get("processes", 1) > 1:
        devices += f" in each of {start['processes']} processes"
    return devices


def describe_start(run: Run, here: Sequence[Job], missing: Sequence[Job]) -> str:
    """What is about to be trained, on what, in words."""
    config, facts, start = run.config, run.facts, run.starts[-1]
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
        f"{config.dataset}: {facts['clips']} clips of {facts['subjects']} subjects: "
        f"{_class_list(facts)}",
        f"protocol: {_protocol(config.protocol, folds, config.split)}",
    ]
    if len(here) == 1:
        sizes = [f"{name} {len(part)}" for name, part in here[0].fold.parts.items()]
        lines.append(f"{', '.join(sizes)} clips")
    else:
        lines.append(f"{len(here)} folds to train and test, each by itself")
    if len(missing) < len(here):
        lines.append(f"{len(here) - len(missing)} of them are finished already")
    lines += [f"left out: {n} clips ({why})" for why, n in facts["left_out"].items()]
    lines += [f"note: {text}" for text in facts["lacking"]]
    return "\n".join(lines)


def describe_duration(seconds: float) -> str:
    """How long a run will take where there is no accelerator, and what to do."""
    return (
        f"This will take about {seconds / 3600:.1f} hours on this CPU. --preset=small "
        "is made for machines without an accelerator."
    )


def describe(report: dict) -> str:
    """The report's main numbers for a terminal, each with the clips behind it."""
    lines = [how(report)]
    lines += [f"{NAMES[name]}: {_number(report, name)}" for name in NAMES]
    width = max(map(len, report["by_class"]))
    for name, row in report["by_class"].items():
        lines.append(f"  {name:{width}}  {_of_class(row, report['seeds'])}")
    for name, part in report.get("by_dataset", {}).items():
        numbers = ", ".join(
            f"{NAMES[n].partition(' ')[0]} {part['metrics'][n]['mean']:.3f}"
            for n in ("accuracy", "uf1", "uar")
        )
        lines.append(f"{name}: {numbers} ({part['clips']} clips)")
    return "\n".join(lines)


def how(report: dict) -> str:
    """How the numbers were formed, in words."""
    protocol = _protocol(report["protocol"], report["folds"], report["split"])
    seeds, clips = report["seeds"], f"{report['clips']} test clips"
    if (least := min(row["clips"] for row in report["by_seed"])) < report["clips"]:
        # Each seed has a test part of its own.
        clips = f"{least} test clips under each seed, {report['clips']} in all,"
    times = "once" if len(seeds) == 1 else f"{len(seeds)} times"
    pooled = "Predictions of all folds" + (" of a seed" if _several(report) else "")
    means = "; what is given is the mean over the seeds" if _several(report) else ""
    return (
        f"Protocol: {protocol}. Classes: {_class_list(report['data'])}. "
        f"{clips} of {report['subjects']} subjects in {report['folds']} "
        f"fold{'s' if report['folds'] > 1 else ''}, done {times} (seed "
        f"{', '.join(map(str, seeds))}). Tested: "
        f"{report['selection']}; the test part was read once, after that choice. "
        f"{pooled} are pooled into one confusion matrix, from which every number is "
        f"computed{means}."
    )


def _class_list(facts: dict) -> str:
    parts = []
    for name, counts in facts["counts"].items():
        total = sum(counts.values())
        if list(counts) == [name]:
            parts.append(f"{name} ({total} clips)")
        else:
            of = ", ".join(f"{e} {n}" for e, n in counts.items() if n)
            parts.append(f"{name} ({total} clips: {of})")
    return ", ".join(parts)


def _number(report: dict, name: str) -> str:
    """A statistic with its uncertainty and what that is."""
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
    recall = "no clip" if row["recall"] is None else f"recall {row['recall']:.3f}"
    f1 = "" if row["f1"] is None else f", F1 {row['f1']:.3f}"
    over = f", mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{recall}{f1} ({row['clips']} tested{over})"


# Of each picture by its name.
_CAPTIONS = {
    "confusion": "Confusion matrix",
    "spread": "Seeds and folds",
    "subjects": "Accuracy by subject",
    "reliability": "Reliability",
    "curves": "Learning curves",
}

_DEFINITIONS = """\
UF1: F1 of each class, 2 TP / (2 TP + FP + FN), from the pooled confusion matrix,
averaged over the classes that have a test clip, each alike (MEGC 2019). UAR: likewise
the recall, TP / N. Macro F1 also counts a class that is only predicted; weighted F1
weighs classes by their clips; micro F1 would be the accuracy. Expected calibration
error: 15 bins of equal width. Intervals are at 95 %: Wilson's takes clips for
independent; the others are percentiles of a bootstrap that draws whole subjects, since
clips of one subject are alike. They hold what other subjects would change, not what
other seeds would: for that there is the standard deviation over seeds (sd)."""


def to_markdown(run: Run, report: dict, pictures: Iterable[str] = ()) -> str:
    """``report.md``: what a paper's supplement needs."""
    config, facts = run.config, report["data"]
    lines = [
        f"# {run.config.title} on {', '.join(report['datasets'])}",
        "",
        how(report),
        "",
        "## Numbers",
        "",
        "| | | 95 % interval |" + (" sd | by seed |" if _several(report) else ""),
        "|---|---|---|" + ("---|---|" if _several(report) else ""),
    ]
    lines += [_row(report, name) for name in NAMES]
    of = f", mean of {len(report['seeds'])} seeds" if _several(report) else ""
    lines += ["", _DEFINITIONS, ""]
    lines += [f"| class | tested | recall{of} | F1{of} |", "|---|---|---|---|"]
    for name, row in report["by_class"].items():
        lines.append(
            f"| {_cell(name)} | {row['clips']} | {_share(row['recall'])} "
            f"| {_share(row['f1'])} |"
        )
    if "by_dataset" in report:
        lines += [
            "",
            "## By data set",
            "",
            "From each one's own clips of the same folds.",
        ]
        lines += ["", "| data set | clips | subjects | accuracy | UF1 | UAR |"]
        lines.append("|---|---|---|---|---|---|")
        for name, part in report["by_dataset"].items():
            numbers = " | ".join(
                _interval_text(part["metrics"][n]) for n in ("accuracy", "uf1", "uar")
            )
            lines.append(
                f"| {name} | {part['clips']} | {part['subjects']} | {numbers} |"
            )
    lines += [
        "",
        "## Pictures",
        "",
        *(f"![{_CAPTIONS[name]}]({name}.png)" for name in pictures),
        "",
        "## Clips",
        "",
        f"{facts['clips']} clips of {facts['subjects']} subjects.",
        "",
        "| class | emotions | clips |",
        "|---|---|---|",
    ]
    for name, counts in facts["counts"].items():
        of = ", ".join(f"{emotion} {n}" for emotion, n in counts.items())
        lines.append(f"| {_cell(name)} | {_cell(of)} | {sum(counts.values())} |")
    if facts["left_out"]:
        lines += ["", "Left out:", ""]
        lines += [f"- {n} clips: {why}" for why, n in facts["left_out"].items()]
    if facts["lacking"]:
        lines += ["", "Classes that a fold could not learn:", ""]
        lines += [f"- {text}" for text in facts["lacking"]]
    lines += ["", "## How to repeat it", ""]
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


def _interval_text(found: dict) -> str:
    if found["interval"] is None:
        return f"{found['mean']:.3f}"
    return "{:.3f} ({:.3f} to {:.3f})".format(found["mean"], *found["interval"])


def _cell(text: str) -> str:
    """Names are the user's; a bar would end the cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
