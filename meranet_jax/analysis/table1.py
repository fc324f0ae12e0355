"""Table 1: the systems of the paper's table and the field's baselines, compared.

All systems are trained and tested on the same clips under the same protocol, each with
its own input and training. Numbers of their publications are stated with what they
measure, since none was measured in this way.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from meranet_jax import flags, recipes, recognisers
from meranet_jax.analysis import markdown, variants
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, predictions, summary
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import cost
from meranet_jax.recognisers import Network
from meranet_jax.runs import reader, run_text
from meranet_jax.runs.reader import Run

_PAPER = ("meranet", "resnet3d")

# Flags that describe the clips of a system. Those on the command line are for the
# paper's two networks, and the others keep their own.
_CLIP = ("input", "frames", "size", "sampling", "record_size")

# What reproduce.py sets itself
_SET = ("seed", "seeds", *recipes.LISTED)

_METRICS = ("accuracy", "uf1", "uar")


@dataclasses.dataclass(frozen=True)
class System:
    """A system of the table.

    Attributes:
      year: of its publication.
      accuracies: by data set in per cent, as the paper's Table 1 quotes them, and what
        they were measured on, as far as we know.
      others: other published results, with their protocol.
    """

    year: int
    accuracies: Mapping[str, tuple[float, str]] = dataclasses.field(
        default_factory=dict
    )
    others: str = ""


_HOLD_OUT = "3 classes, a hold-out of clips whose subjects are also in the training"
_UNKNOWN = "quoted by the paper without a protocol"
_OTHER = f"{_UNKNOWN}; another system"
_MEGC = "composite of MEGC 2019 (CASME II, SAMM, SMIC), 3 classes, LOSO"

# In the order of the table: the paper's rows, then the field's baselines.
SYSTEMS: Mapping[str, System] = {
    "meranet": System(
        2020,
        {
            "casme": (90.5, _HOLD_OUT),
            "casme2": (91.7, _HOLD_OUT),
            "cas_me_2": (91.7, _HOLD_OUT),
        },
    ),
    "resnet3d": System(
        2020,
        {
            "casme": (81.0, _HOLD_OUT),
            "casme2": (83.3, _HOLD_OUT),
            "cas_me_2": (83.3, _HOLD_OUT),
        },
    ),
    "stclqp": System(
        2016,
        {
            "casme": (57.31, _UNKNOWN),
            "casme2": (
                58.39,
                "LOSO; a mean over classes according to another publication: compare "
                "with UAR",
            ),
        },
    ),
    "fmbh": System(
        2018,
        {
            "casme": (61.33, "LOSO"),
            "casme2": (69.11, "LOSO"),
            "cas_me_2": (73.67, "LOSO"),
        },
    ),
    "landmark_flow": System(
        2018, {"casme": (56.60, _OTHER), "casme2": (56.94, _OTHER)}
    ),
    # The paper's table has 2018, and its list of references 2019
    "flow_cnn3d": System(
        2019, {"casme": (54.44, _UNKNOWN), "casme2": (59.11, _UNKNOWN)}
    ),
    "learnet": System(
        2019,
        {
            "casme": (80.62, _UNKNOWN),
            "casme2": (76.57, f"{_UNKNOWN}; equal to CAS(ME)^2, perhaps by mistake"),
            "cas_me_2": (76.57, f"{_UNKNOWN}; equal to CASME II, perhaps by mistake"),
        },
    ),
    "microexpstcnn": System(
        2019,
        {
            "cas_me_2": (
                87.80,
                "36 of 41 clips of a random split of 206 clips, on which its "
                "checkpoint was chosen",
            )
        },
    ),
    "microattention": System(2020, {"casme2": (65.90, _UNKNOWN)}),
    "lbp_top": System(2007, others=f"UF1 0.5882, UAR 0.5785: {_MEGC}"),
    "bi_woof": System(2018, others=f"UF1 0.6296, UAR 0.6227: {_MEGC}"),
    "mdmo": System(2016),
    "off_apexnet": System(2019, others=f"UF1 0.7196, UAR 0.7096: {_MEGC}"),
    "ststnet": System(2019, others=f"UF1 0.7353, UAR 0.7605: {_MEGC}"),
    "rcn": System(2020),
}


def configure(
    base: TrainConfig,
    systems: Sequence[str],
    given: Collection[str],
    own: Mapping[str, Sequence[str]],
) -> dict[str, TrainConfig]:
    """Returns the settings of each system by its title.

    Args:
      base: the settings of MERANet.
      systems: names of recognisers; see ``SYSTEMS``.
      given: names of the flags on the command line. They apply to every system that has
        them, but those that describe the clip only to the paper's two networks. A
        system that does not have the preset of ``base`` has ``small``. Recordings of
        key frames alone are left out, of which some inputs cannot be made.
      own: flags that MERANet does not have, as on the command line, by the name of the
        system that has them.

    Raises:
      UserError: if a flag is invalid for a system, or applies to none.
    """
    names = ({*given, *_SET} - {*_CLIP, "preset"}) & set(base.flags())
    chosen = {name: base.flags()[name] for name in names}
    unused = set(given) & set(base.flags())
    found = {}
    for system in systems:
        recogniser = recognisers.find(system)
        if system in _PAPER:
            config = base if system == base.model else base.change(model=system)
            unused -= set(config.flags())
        else:
            preset = base.preset
            if preset != "paper" and preset not in recogniser.presets:
                preset = "small"
            config = default_config(base.dataset, preset, system)
            if system in own:
                recipe = [f"--dataset={base.dataset}", f"--preset={preset}"]
                config = flags.parse([*recipe, f"--model={system}", *own[system]])
            known = set(config.flags())
            unused -= known - set(_CLIP)
            config = config.change(**{n: v for n, v in chosen.items() if n in known})
        # Whichever systems are chosen, so that finished runs can be reused
        needs_clip = inputs.CLIP in inputs.find(config.input).features
        if not needs_clip:
            config = config.change(whole_clips=True)
        found[config.title] = config
    if unused:
        raise UserError(
            f"--{min(unused)} applies to none of {', '.join(systems)}. Leave it out, "
            "or choose other --systems."
        )
    return found


def make(finished: Mapping[tuple[str, str, str], Run]) -> tuple[list[dict], str]:
    """Compares the systems on the same clips, and with their publications.

    Args:
      finished: the runs by data set, protocol and title of the system.

    Returns:
      A table row for each run, and the results in Markdown.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for (dataset, protocol, _), run in finished.items():
        groups.setdefault((dataset, protocol), []).append(run)
    rows: list[dict] = []
    for (dataset, protocol), runs in groups.items():
        read = [predictions.read(run.layout.predictions) for run in runs]
        of_model = [run.config.model for run in runs]
        first = of_model.index("meranet") if "meranet" in of_model else 0
        commonest = summary.commonest_class(read[first])
        for place, (run, predicted) in enumerate(zip(runs, read, strict=True)):
            row = {"dataset": dataset, "protocol": protocol, **_system(run)}
            row |= variants.score_columns(reader.read_report(run.path))
            row |= {f"commonest_{name}": value for name, value in commonest.items()}
            row["constant_seeds"] = summary.count_constant_seeds(predicted)
            if place != first:
                compared = comparison.compare(predicted, read[first])
                row["reference"] = runs[first].config.title
                row |= variants.difference_columns(compared)
                row["mcnemar_p"] = " ".join(
                    f"{test['p']:.3g}" for test in compared["mcnemar"]
                )
            rows.append(row | variants.version_columns(run))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name) for name in columns} for row in rows]
    return rows, _describe(rows)


def _system(run: Run) -> dict[str, Any]:
    """Returns the columns of a row that say what the system is."""
    config = run.config
    system, data_set = SYSTEMS[config.model], config.dataset.partition("/")[0]
    published, protocol = system.accuracies.get(data_set, (None, None))
    return {
        "system": config.title,
        "model": config.model,
        "preset": config.preset,
        "year": system.year,
        "epochs": getattr(config.settings, "epochs", None),
        "precision": getattr(config.settings, "precision", None),
        "changed_settings": "; ".join(run_text.changed_settings(config)),
        "input": config.input,
        "parameters": _parameters(run),
        "features": _features(run),
        "seconds_per_fold": reader.read_seconds(run.path),
        "published_accuracy": None if published is None else published / 100,
        "published_protocol": protocol,
    }


def _parameters(run: Run) -> int | None:
    """Returns the number of trainable parameters; None for a descriptor."""
    config, network = run.config, run.config.recogniser
    if not isinstance(network, Network):
        return None
    model = network.make(
        config.settings, num_classes=len(run.classes), axis_name=None, dtype=None
    )
    shape = inputs.find(config.input).shape(config.frames, config.size)
    return cost.parameters(model, shape)


def _features(run: Run) -> int | None:
    """Returns the length of a descriptor's features; None for a network."""
    recogniser = run.config.recogniser
    if isinstance(recogniser, Network):
        return None
    return recogniser.feature_length(run.config.settings)


def _describe(rows: Sequence[Mapping]) -> str:
    """Returns the results in Markdown."""
    text = ["# Table 1: systems on the same clips", ""]
    for key in dict.fromkeys((row["dataset"], row["protocol"]) for row in rows):
        shown = [row for row in rows if (row["dataset"], row["protocol"]) == key]
        one = shown[0]
        text += [
            f"## {key[0]}, {key[1]}, seeds: {one['seeds']}, test clips per seed: "
            f"{one['test_clips']}, tested subjects: {one['tested_subjects']}",
            "",
            _scores_table(shown),
            "",
            *_constant_lines(shown),
            *_settings_lines(shown),
            "",
        ]
        compared = [row for row in shown if row.get("reference")]
        if compared:
            text += [
                f"### Difference from {compared[0]['reference']}, on the same clips",
                "",
                markdown.table(
                    ["system", "difference of UF1", "over subjects", "over seeds"]
                    + ["significant", "p of McNemar's test, by seed"],
                    [
                        [row["system"], *variants.difference_cells(row)]
                        + [row["mcnemar_p"]]
                        for row in compared
                    ],
                ),
                "",
            ]
        precisions = dict.fromkeys(row["precision"] for row in shown)
        precision = ", ".join(name for name in precisions if name)
        text += [
            variants.made_with(shown)
            + (f" Networks were trained in {precision}." if precision else ""),
            "",
        ]
    text += [
        "Means and standard deviations over seeds, and 95 % confidence intervals over "
        "subjects (Wilson's for the accuracy of a single seed). A difference is "
        "significant if both of its intervals, over subjects and over seeds, exclude "
        "0. With one seed, significance is unknown. McNemar's test assumes that clips "
        "are independent. Seconds are those of the training, without reading clips, "
        "features, compiling and testing, while folds are trained side by side on all "
        "devices.",
        "",
        "The SVM of a descriptor is fitted to the training and the validation part, a "
        "network to the training part only.",
        "",
        "The row *always the commonest class* has the scores of answering the most "
        "frequent class of the test clips for each of them. With several seeds it is "
        "their mean.",
        "",
    ]
    if any(row["published_accuracy"] is not None for row in rows):
        text += [
            "**Published accuracies** are quoted from the paper's Table 1, which took "
            "those of other systems from their publications. They were measured on "
            "other clips, with other classes and protocols: no difference between a "
            "column of this program and a published number says which is better.",
            "",
        ]
    models = dict.fromkeys(row["model"] for row in rows)
    quoted = [(name, SYSTEMS[name].others) for name in models if SYSTEMS[name].others]
    if quoted:
        titles = {row["model"]: row["system"] for row in rows}
        text += [
            "## Published elsewhere",
            "",
            markdown.table(
                ["system", "result"], [[titles[name], other] for name, other in quoted]
            ),
            "",
        ]
    return "\n".join(text)


def _scores_table(rows: Sequence[Mapping]) -> str:
    """Returns the table of a data set and protocol, without its empty columns."""
    head = ["system", "year", "preset", "input", "parameters", "epochs"]
    head += ["seconds per fold", "accuracy", "UF1", "UAR"]
    head += ["published accuracy", "measured on"]
    cells = [
        [
            row["system"],
            row["year"],
            row["preset"],
            inputs.find(row["input"]).short_title,
            _size(row),
            _or_empty(row["epochs"], "d"),
            _or_empty(row["seconds_per_fold"], ".1f"),
            *(markdown.score(row, name) for name in _METRICS),
            _or_empty(row["published_accuracy"], ".3f"),
            row["published_protocol"] or "",
        ]
        for row in rows
    ]
    commonest = [f"{rows[0][f'commonest_{name}']:.3f}" for name in _METRICS]
    cells.append(["*always the commonest class*", *[""] * 6, *commonest, "", ""])
    return markdown.table(*markdown.drop_empty_columns(head, cells))


def _constant_lines(rows: Sequence[Mapping]) -> list[str]:
    """Names the systems that predict one class for all test clips of a seed."""
    by_count: dict[int, list[str]] = {}
    for row in rows:
        by_count.setdefault(row["constant_seeds"], []).append(row["system"])
    lines = []
    for count, systems in sorted(by_count.items(), reverse=True):
        seeds = rows[0]["seeds"]
        of_seeds = f" with {count} of {seeds} seeds" if seeds > 1 else ""
        if count:
            # Names contain commas.
            text = f"{'; '.join(systems)}: the same class for all test clips{of_seeds}."
            lines += [text, ""]
    return lines


def _settings_lines(rows: Sequence[Mapping]) -> list[str]:
    """Lists the settings of each system that differ from its defaults."""
    changed = [row for row in rows if row["changed_settings"]]
    if not changed:
        return ["All settings are the defaults of the system with its preset."]
    return [
        "Settings that differ from the defaults of the system with its preset:",
        "",
        *(f"- {row['system']}: {row['changed_settings']}" for row in changed),
    ]


def _size(row: Mapping) -> str:
    if row["parameters"] is not None:
        return f"{row['parameters']:,}"
    return f"{row['features']:,} features"


def _or_empty(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
