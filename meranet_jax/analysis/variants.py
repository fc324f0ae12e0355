"""Experiments that compare variants of a recipe: inputs, an ablation, learning curves.

All variants of an experiment are trained and tested on the same clips.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from meranet_jax.analysis import markdown
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, predictions
from meranet_jax.runs import reader
from meranet_jax.runs.reader import Run

VariantExperiment = Literal["inputs", "ablation", "learning_curve"]

TITLES: dict[VariantExperiment, str] = {
    "inputs": "Recognisers and their inputs",
    "ablation": "Ablation of the recipe",
    "learning_curve": "Learning curves",
}

# Inputs that are compared, for both networks of the paper
INPUTS = ("rgb", "difference", "flow", "onset_apex_flow")

# Numbers of training subjects, and of training clips of each
SUBJECTS = (5, 10, 20, 40)
CLIPS = (1, 2, 4, 8)

_METRICS = ("uf1", "uar", "accuracy")


# Other sizes of the network in an ablation
_SIZES: tuple[dict[str, Any], ...] = ({"width": 8}, {"width": 32}, {"size": 28})

# Settings of a preset that say how it is tested, and not what is trained
_PROTOCOL = ("protocol", "validation_fraction")

_RANDOM = "random weights"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of a recipe.

    Attributes:
      label: its name in tables and figures.
      changes: the flags that differ from the recipe, by name.
      reference: label of the variant that it is compared with; None for none.
      columns: further columns of its row in the table.
    """

    label: str
    changes: Mapping[str, Any]
    reference: str | None = None
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def variants(experiment: VariantExperiment, base: TrainConfig) -> list[Variant]:
    """Returns the variants of an experiment, in the order of their training.

    Args:
      experiment: the experiment.
      base: the settings of the recipe.

    Raises:
      UserError: if there is nothing to compare.
    """
    if experiment == "inputs":
        return _inputs()
    return _ablation(base) if experiment == "ablation" else _curves(base)


def _inputs() -> list[Variant]:
    found = [
        (f"{title}, {name}", {"model": model, "input": name})
        for name in INPUTS
        for title, model in (("MERANet", "meranet"), ("3D ResNet", "resnet3d"))
    ]
    return _compared_with_first([*found, ("LBP-TOP", {"model": "lbp_top"})])


def _compared_with_first(found: Sequence[tuple[str, dict]]) -> list[Variant]:
    (first, changes), *others = found
    return [
        Variant(first, changes),
        *(Variant(label, changes, first) for label, changes in others),
    ]


def _ablation(base: TrainConfig) -> list[Variant]:
    """Replaces each choice of a preset by that of the small preset.

    What the small preset has, too, is the size of the network, which is varied. What
    the preset changes for a start from weights is replaced by what it has without.
    """
    chosen = base.recogniser.presets.get(base.preset, {})
    usual = default_config(base.dataset, "small", base.model).flags()
    usual |= _untuned(base)
    recipe = base.flags()
    names = [*chosen, *_untuned(base)]
    changes = [
        {name: usual[name]}
        for name in dict.fromkeys(names)
        if name not in _PROTOCOL and recipe[name] != usual[name]
    ]
    if not changes:
        raise UserError(
            f"ablation: --preset={base.preset} has no choice of its own to replace. "
            "Choose --preset=new_people."
        )
    found: list[tuple[str, dict]] = [("complete recipe", {})]
    for change in [*changes, *_SIZES]:
        ((name, value),) = change.items()
        label = f"{name}: {_text(value)} instead of {_text(recipe[name])}"
        if base.init is not None and name in ("input", "width"):
            # The weights do not fit.
            change = _from_random(base) | change
            label += f", {_RANDOM}"
        found.append((label, change))
    if base.init is not None:
        found.append((_RANDOM, _from_random(base)))
    return _compared_with_first(found)


def _curves(base: TrainConfig) -> list[Variant]:
    """Reduces the training part, with and without the weights of ``--init``.

    The largest sizes come first, so that one that does not fit fails at once.
    """
    found = []
    for flag, numbers, unit in (
        ("train_subjects", SUBJECTS, "subjects"),
        ("train_clips", CLIPS, "clips of each subject"),
    ):
        for number in reversed(numbers):
            size = f"{number} {unit}".replace("1 clips", "1 clip")
            without = f"{size}, {_RANDOM}"
            change = {flag: number}
            columns = {"start": _RANDOM, **change}
            found.append(Variant(without, _from_random(base) | change, columns=columns))
            if base.init is not None:
                columns = {"start": base.init, **change}
                label = f"{size}, {base.init}"
                found.append(Variant(label, change, without, columns))
    return found


def _from_random(base: TrainConfig) -> dict[str, Any]:
    """Returns the changes to a start from random weights."""
    return {"init": None, **_untuned(base)}


def _untuned(base: TrainConfig) -> dict[str, Any]:
    """Returns what the preset has without weights and has changed because of them."""
    if base.init is None:
        return {}
    without = default_config(base.dataset, base.preset, base.model).flags()
    tuned = base.recogniser.fine_tuning.get(base.preset, {})
    flags = base.flags()
    return {n: without[n] for n, value in tuned.items() if flags[n] == value}


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if value is None or value is True else str(value)


def configure(base: TrainConfig, variant: Variant) -> TrainConfig:
    """Returns the settings of the runs of a variant, which their name states."""
    config = base.change(**variant.changes)
    own = base.change(init=None) if config.init is None else base
    parts = [
        f"{name}-{_text(value)}".replace(" ", "+")
        for name, value in variant.changes.items()
        if name != "init"
    ]
    return config.change(name="-".join([own.run_name, *parts]))


def compare(
    experiment: VariantExperiment,
    finished: Mapping[tuple[str, str, str], Run],
    bases: Sequence[TrainConfig],
) -> tuple[list[dict], str]:
    """Compares variants with their references on the same clips.

    Args:
      experiment: the experiment.
      finished: the runs by data set, protocol and label of the variant.
      bases: the settings of the recipe for each data set.

    Returns:
      A table row for each run, and the results in Markdown.
    """
    rows: list[dict] = []
    for base in bases:
        known: dict[str, predictions.Predictions] = {}
        for variant in variants(experiment, base):
            run = finished[base.dataset, base.protocol, variant.label]
            known[variant.label] = predictions.read(run.layout.predictions)
            row = {
                "dataset": base.dataset,
                "protocol": base.protocol,
                "variant": variant.label,
                **variant.columns,
                **score_columns(reader.read_report(run.path)),
                **version_columns(run),
            }
            if variant.reference is not None:
                row |= {
                    "reference": variant.reference,
                    **difference_columns(
                        comparison.compare(
                            known[variant.label], known[variant.reference]
                        )
                    ),
                }
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name) for name in columns} for row in rows]
    return rows, _describe(experiment, rows)


def version_columns(run: Run) -> dict[str, Any]:
    """Returns the columns of a row that say what the results were made with."""
    start = run.starts[-1] if run.starts else {}
    packages = start.get("packages", {})
    return {
        # <data_dir>/<name>/<configuration>/<version>
        "records": " ".join("/".join(folder.parts[-3:]) for folder in run.records),
        "commit": (start.get("commit") or "")[:7],
        "jax": packages.get("jax", ""),
        "device": start.get("device_kind", ""),
    }


def score_columns(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the columns of a row that a run's report has."""
    columns: dict[str, Any] = {
        "test_clips": min(seed["clips"] for seed in report["by_seed"]),
        "tested_subjects": report["subjects"],
        "seeds": len(report["seeds"]),
    }
    for name in _METRICS:
        found = report["metrics"][name]
        low, high = found["interval"] or (None, None)
        columns |= {name: found["mean"], f"{name}_sd": found["sd"]}
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return columns


def difference_columns(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the columns of the difference of UF1 from a reference.

    Args:
      compared: the result of ``comparison.compare``.
    """
    row = compared["metrics"]["uf1"]
    bounds = {}
    for name in ("interval", "seeds_interval"):
        low, high = row[name] or (None, None)
        bounds |= {f"difference_{name}_low": low, f"difference_{name}_high": high}
    return {
        "difference": row["difference"],
        **bounds,
        "significant": comparison.significant_winner(row) != 0
        if None not in (row["interval"], row["seeds_interval"])
        else None,
    }


def _describe(experiment: VariantExperiment, rows: Sequence[Mapping]) -> str:
    """Returns the results in Markdown."""
    text = [f"# {TITLES[experiment]}", ""]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        one = of_dataset[0]
        text += [
            f"## {dataset}, {one['protocol']}, seeds: {one['seeds']}, test clips per "
            f"seed: {one['test_clips']}, tested subjects: {one['tested_subjects']}",
            "",
            markdown.table(
                ["variant", "UF1", "UAR", "accuracy", "difference of UF1"]
                + ["over subjects", "over seeds", "significant"],
                [
                    [
                        row["variant"],
                        *(markdown.score(row, name) for name in _METRICS),
                        *difference_cells(row),
                    ]
                    for row in of_dataset
                ],
            ),
            "",
            f"{_reference(of_dataset)} {made_with(of_dataset)}",
            "",
        ]
    text.append(
        "Means and standard deviations over seeds, and 95 % confidence intervals over "
        "subjects (Wilson's for the accuracy of a single seed). A difference is "
        "significant if both of its intervals, over subjects and over seeds, exclude "
        "0. With one seed, significance is unknown."
    )
    return "\n".join(text) + "\n"


def _reference(rows: Sequence[Mapping]) -> str:
    """Returns a sentence on what the rows of a data set are compared with."""
    if any(row.get("start") for row in rows):
        return f"Differences are from {_RANDOM} with as many clips, on the same clips."
    return f"Differences are from “{rows[0]['variant']}”, on the same clips."


def made_with(rows: Sequence[Mapping]) -> str:
    """Returns a sentence on the versions of the runs of a data set."""

    def values(name: str) -> str:
        return ", ".join(dict.fromkeys(row[name] for row in rows if row[name]))

    return (
        f"Records: {values('records')}. Commit {values('commit') or 'unknown'}, jax "
        f"{values('jax') or 'unknown'}, on {values('device') or 'an unknown device'}."
    )


def difference_cells(row: Mapping) -> list[str]:
    if row.get("difference") is None:
        return ["", "", "", ""]
    cells = [f"{row['difference']:+.3f}"]
    for name in ("interval", "seeds_interval"):
        low, high = (row[f"difference_{name}_{end}"] for end in ("low", "high"))
        cells.append("-" if low is None else f"{low:+.3f} to {high:+.3f}")
    verdicts = {None: "unknown", True: "yes", False: "no"}
    return [*cells, verdicts[row["significant"]]]
