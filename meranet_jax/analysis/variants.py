"""Experiments that compare variants of a recipe: inputs, an ablation, learning curves.

All variants of an experiment are trained and tested on the same clips.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from meranet_jax.analysis import markdown
from meranet_jax.config import TrainConfig, default_config
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


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of a recipe.

    Attributes:
      label: its name in tables and figures.
      changes: the flags that differ from the recipe, by name.
      facts: columns of its row in the table, in addition to the results.
    """

    label: str
    changes: Mapping[str, Any]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def variants(experiment: VariantExperiment, base: TrainConfig) -> list[Variant]:
    """Returns the variants of an experiment; the first is the reference.

    Args:
      experiment: the experiment.
      base: the settings of the recipe.
    """
    return {"inputs": _inputs, "ablation": _ablation, "learning_curve": _curves}[
        experiment
    ](base)


def _inputs(base: TrainConfig) -> list[Variant]:
    found = [
        Variant(f"{title}, {name}", {"model": model, "input": name})
        for name in INPUTS
        for title, model in (("MERANet", "meranet"), ("3D ResNet", "resnet3d"))
    ]
    return [*found, Variant("LBP-TOP", {"model": "lbp_top"})]


def _ablation(base: TrainConfig) -> list[Variant]:
    """Replaces each choice of a preset by that of the paper or of the small preset."""
    chosen = base.recogniser.presets.get(base.preset, {})
    usual = default_config(base.dataset, "small", base.model).flags()
    found = [Variant("complete recipe", {})]
    for name in chosen:
        current, other = base.flags()[name], usual[name]
        if current != other:
            label = f"{name}: {_text(other)} instead of {_text(current)}"
            found.append(Variant(label, {name: other}))
    if base.init is not None:
        found.append(Variant("random initial weights", {"init": None}))
    return found


def _curves(base: TrainConfig) -> list[Variant]:
    starts = {"random weights": {"init": None}}
    if base.init is not None:
        starts = {base.init: {}} | starts
    return [
        Variant(
            f"{number} {what}, {start}",
            change | {flag: number},
            {"start": start, flag: number},
        )
        for flag, what, numbers in (
            ("train_subjects", "subjects", SUBJECTS),
            ("train_clips", "clips of each subject", CLIPS),
        )
        for number in numbers
        for start, change in starts.items()
    ]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def configure(base: TrainConfig, variant: Variant) -> TrainConfig:
    """Returns the settings of the runs of a variant, which their name states."""
    config = base.change(**variant.changes)
    parts = [
        f"{name}-{_text(value)}".replace(" ", "+")
        for name, value in variant.changes.items()
    ]
    return config.change(name="-".join([base.run_name, *parts]))


def compare(
    experiment: VariantExperiment,
    finished: Mapping[tuple[str, str, str], Run],
    facts: Mapping[str, Mapping[str, Any]],
) -> tuple[list[dict], str]:
    """Compares the variants of each data set with the first one.

    Args:
      experiment: the experiment.
      finished: the runs by data set, protocol and label of the variant.
      facts: columns of each variant's row, by its label.

    Returns:
      A table row for each run, and the results in Markdown.
    """
    rows: list[dict] = []
    first: dict[str, tuple[str, predictions.Predictions]] = {}
    for (dataset, protocol, label), run in finished.items():
        report = reader.read_report(run.path)
        row = {
            "dataset": dataset,
            "protocol": protocol,
            "variant": label,
            **facts.get(label, {}),
            "test_clips": min(seed["clips"] for seed in report["by_seed"]),
            "subjects": report["subjects"],
            "seeds": len(report["seeds"]),
        }
        for name in _METRICS:
            found = report["metrics"][name]
            low, high = found["interval"] or (None, None)
            row |= {name: found["mean"], f"{name}_sd": found["sd"]}
            row |= {f"{name}_low": low, f"{name}_high": high}
        predicted = predictions.read(run.layout.predictions)
        reference, theirs = first.setdefault(dataset, (label, predicted))
        row["reference"] = reference
        row |= _difference(predicted, theirs) if label != reference else {}
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name) for name in columns} for row in rows]
    return rows, _describe(experiment, rows)


def _difference(
    predicted: predictions.Predictions, reference: predictions.Predictions
) -> dict:
    """Returns the difference of UF1 from the reference, with its intervals."""
    row = comparison.compare(predicted, reference)["metrics"]["uf1"]
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
            f"seed: {one['test_clips']}, tested subjects: {one['subjects']}",
            "",
            markdown.table(
                ["variant", "UF1", "UAR", "accuracy", "difference of UF1"]
                + ["over subjects", "over seeds", "significant"],
                [
                    [
                        row["variant"],
                        *(_number(row, name) for name in _METRICS),
                        *_difference_cells(row),
                    ]
                    for row in of_dataset
                ],
            ),
            "",
            f"Differences are from “{one['reference']}”, on the same clips.",
            "",
        ]
    text.append(
        "Means and standard deviations over seeds, and 95 % confidence intervals over "
        "subjects (Wilson's for the accuracy of a single seed). A difference is "
        "significant if both of its intervals, over subjects and over seeds, exclude "
        "0. With one seed, significance is unknown."
    )
    return "\n".join(text) + "\n"


def _difference_cells(row: Mapping) -> list[str]:
    if row.get("difference") is None:
        return ["", "", "", ""]
    cells = [f"{row['difference']:+.3f}"]
    for name in ("interval", "seeds_interval"):
        low, high = (row[f"difference_{name}_{end}"] for end in ("low", "high"))
        cells.append("-" if low is None else f"{low:+.3f} to {high:+.3f}")
    verdicts = {None: "unknown", True: "yes", False: "no"}
    return [*cells, verdicts[row["significant"]]]


def _number(row: Mapping, name: str) -> str:
    text = f"{row[name]:.3f}"
    if row[f"{name}_sd"] is not None:
        text += f" ± {row[f'{name}_sd']:.3f}"
    if row[f"{name}_low"] is not None:
        text += f" ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
    return text
