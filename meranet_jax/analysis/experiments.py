"""Experiments: the runs that each needs, and the results of the paper's experiments.

Results are table rows, which become CSV files, and text in Markdown.
"""

import types
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from meranet_jax.analysis import markdown, table1, variants
from meranet_jax.analysis.variants import VariantExperiment
from meranet_jax.config import TrainConfig
from meranet_jax.evaluation import metrics
from meranet_jax.runs import layout, reader
from meranet_jax.runs.reader import Run

Experiment = Literal[
    "table1", "figure4", "figure5", "figure6", "parameters", VariantExperiment
]

MERANET, RESNET = "MERANet", "3D ResNet"

# Variants of each experiment: the name in tables and figures, and the changed flags.
NETWORKS = {MERANET: {"model": "meranet"}, RESNET: {"model": "resnet3d"}}
_SHARED = {
    "shared CNN (CN-SCNN)": {"shared": "cnn"},
    "shared MLP (CN-SMLP)": {"shared": "mlp"},
}
_KERNELS = {f"kernel {size}": {"kernel_size": size} for size in (3, 5, 7)}

# Key of a run: its data set, protocol and variant.
Key = tuple[str, str, str]


def plan(
    experiment: Experiment,
    bases: Sequence[TrainConfig],
    protocols: Sequence[str],
    loso_seeds: int | None,
    systems: Sequence[str] = tuple(table1.SYSTEMS),
    given: Collection[str] = (),
    own: Mapping[str, Sequence[str]] = types.MappingProxyType({}),
) -> dict[Key, TrainConfig]:
    """Returns the configurations of the runs that an experiment needs.

    Experiments share runs: that of MERANet under the hold-out is the same in all.

    Args:
      experiment: the experiment.
      bases: the configuration for each data set, with all its seeds.
      protocols: the protocols of ``table1``. Other experiments use that of their base.
      loso_seeds: number of the seeds that ``table1`` uses under
        leave-one-subject-out; None for all seeds.
      systems: names of the recognisers of ``table1``.
      given: names of the flags on the command line; see ``table1.configure``.
      own: flags of single systems; see ``table1.configure``.
    """
    if experiment in variants.TITLES:
        return {
            (base.dataset, base.protocol, variant.label): variants.configure(
                base, variant
            )
            for base in bases
            for variant in variants.variants(experiment, base)
        }
    changes = {
        "table1": {},
        "figure4": _SHARED,
        "figure5": _KERNELS,
        "figure6": NETWORKS,
        "parameters": {},
    }[experiment]
    if experiment != "table1":
        loso_seeds = None
    needed = {}
    for base in bases:
        for protocol in protocols if experiment == "table1" else [base.protocol]:
            configs = {label: base.change(**c) for label, c in changes.items()}
            if experiment == "table1":
                configs = table1.configure(base, systems, given, own)
            for label, config in configs.items():
                config = config.change(protocol=protocol)
                seeds = base.all_seeds[: loso_seeds if protocol == "loso" else None]
                if len(seeds) < len(base.all_seeds):
                    config = _with_seeds(config, seeds)
                needed[base.dataset, protocol, label] = _named(config)
    return needed


def _with_seeds(config: TrainConfig, seeds: Sequence[int]) -> TrainConfig:
    if len(seeds) == 1:
        return config.change(seed=seeds[0], seeds=None)
    return config.change(seed=0, seeds=",".join(map(str, seeds)))


def _named(config: TrainConfig) -> TrainConfig:
    """Adds the variant to the name of a run, where the default name omits it."""
    name, own = config.run_name, vars(config.settings)
    default = config.recogniser.settings()
    if own.get("shared", "cnn") != getattr(default, "shared", "cnn"):
        name += f"-{config.settings.shared}"
    if "kernel_size" in own and config.settings.kernel_size != default.kernel_size:
        name += f"-kernel{config.settings.kernel_size}"
    return config.change(name=name)


def losses(finished: Mapping[Key, Run]) -> dict[str, dict[str, np.ndarray]]:
    """Reads the validation losses of runs.

    Returns:
      float64 [seeds, epochs] by data set and variant, averaged over the folds of a
      seed.
    """
    found = {}
    for (dataset, _, label), run in finished.items():
        by_seed = {}
        for name, lines in reader.read_epoch_metrics(run.path).items():
            of_fold = [line["validation_loss"] for line in lines]
            by_seed.setdefault(layout.seed_of_fold(name), []).append(of_fold)
        values = [np.mean(folds, 0) for folds in by_seed.values()]
        found.setdefault(dataset, {})[label] = np.array(values)
    return found


def loss_rows(found: dict[str, dict[str, np.ndarray]]) -> list[dict]:
    """Returns a table row for each data set, variant and epoch.

    Args:
      found: the result of ``losses``.
    """
    return [
        {
            "dataset": dataset,
            "variant": label,
            "epoch": epoch + 1,
            "seeds": len(values),
            "validation_loss": float(values[:, epoch].mean()),
            "sd": _sd(values[:, epoch]),
        }
        for dataset, by_variant in found.items()
        for label, values in by_variant.items()
        for epoch in range(values.shape[1])
    ]


def describe_losses(
    title: str, claim: str, found: dict[str, dict[str, np.ndarray]]
) -> str:
    """Compares validation losses with the paper's claim, in Markdown.

    Args:
      title: the heading.
      claim: what the paper states.
      found: the result of ``losses``.
    """
    text = [f"# {title}", "", f"Claim of the paper: {claim}", ""]
    for dataset, by_variant in found.items():
        (first, *_) = by_variant.values()
        text += [
            f"## {dataset}, {len(first)} seeds, {first.shape[1]} epochs",
            "",
            markdown.table(
                ["variant", "lowest validation loss", "last validation loss"],
                [
                    [label, _spread(values.min(1)), _spread(values[:, -1])]
                    for label, values in by_variant.items()
                ],
            ),
            "",
        ]
        labels = list(by_variant)
        for index, label in enumerate(labels):
            for other in labels[index + 1 :]:
                difference = by_variant[label] - by_variant[other]
                lower = int((difference.mean(0) < 0).sum())
                text.append(
                    f"- {label} - {other}: the mean loss is lower in {lower} of "
                    f"{difference.shape[1]} epochs; difference of the lowest losses: "
                    + _paired(by_variant[label].min(1) - by_variant[other].min(1))
                )
        text.append("")
    text.append(
        "Means and standard deviations over seeds. A seed draws split, parameters and "
        "order, and all variants use the same seeds. Differences are paired by seed, "
        "with 95 % confidence intervals from Student's t distribution."
    )
    return "\n".join(text) + "\n"


def _paired(differences: np.ndarray) -> str:
    mean = float(differences.mean())
    interval = metrics.t_interval(differences)
    if interval is None:
        return f"{mean:+.3f} (no interval for a single seed)"
    low, high = interval
    verdict = ", no significant difference" if low <= 0 <= high else ""
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}){verdict}"


def describe_saliency(rows: Sequence[dict], checks: Sequence[dict]) -> str:
    """Formats the localisation and the sanity check of saliency maps in Markdown.

    Args:
      rows: for each data set, network, seed and kind of map the means of
        ``saliency.localisation`` over test clips.
      checks: for each data set and network the rows of ``saliency_checks.sanity``.
    """
    groups = {}
    for row in rows:
        key = (row["dataset"], row["network"], row["map"])
        groups.setdefault(key, []).append(row)
    names = ("energy", "energy_by_chance", "auc", "frame_energy")
    names += ("frame_energy_by_chance", "frame_correlation")
    text = ["## Localisation of the movement", ""]
    if groups:
        text += [
            markdown.table(
                ["data set", "network", "map", "seeds", "share of the map", "by chance"]
                + ["AUC", "share in frames with movement", "by chance"]
                + ["correlation over frames"],
                [
                    [*key, len(group)]
                    + [_spread(np.array([r[name] for r in group])) for name in names]
                    for key, group in groups.items()
                ],
            ),
            "",
            "Means over all test clips with movement, and standard deviations over "
            "seeds. `share of the map`: the share of the map where the face moved. `by "
            "chance`: the value of a uniform map, whose AUC is 0.5.",
        ]
    else:
        text.append("These data sets do not record where the face moved.")
    text += [
        "",
        "## Sanity check: randomised layers",
        "",
        markdown.table(
            ["data set", "network", "randomised down to", "Grad-CAM", "SmoothGrad"],
            [
                [row["dataset"], row["network"], row["randomised"]]
                + [f"{row[kind]:.2f}" for kind in ("grad_cam", "smooth_grad")]
                for row in checks
            ],
        ),
        "",
        "Spearman's rank correlation with the maps of the trained network, while its "
        "layers are initialised again at random from the head down (Adebayo et al. "
        "2018). A map that keeps a high correlation depends on the clip and not on the "
        "trained weights.",
    ]
    return "\n".join(text) + "\n"


def _sd(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _spread(values: np.ndarray) -> str:
    spread = _sd(values)
    return f"{values.mean():.3f}" + ("" if spread is None else f" ± {spread:.3f}")
