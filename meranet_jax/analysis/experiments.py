"""The paper's experiments: the runs that each needs, and what is made of them.

They take finished runs and give rows, for a table that other programs read, and
Markdown for people.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from meranet_jax.analysis import markdown
from meranet_jax.config import TrainConfig
from meranet_jax.evaluation import comparison, metrics, predictions
from meranet_jax.runs import reader
from meranet_jax.runs.reader import Run

Experiment = Literal["table1", "figure4", "figure5", "figure6", "parameters"]

MERANET, RESNET = "MERANet", "3D ResNet"

# Table 1: accuracy in per cent, of one hold-out, by data set.
_PAPER = {
    MERANET: {"casme": 90.5, "casme2": 91.7, "cas_me_2": 91.7},
    RESNET: {"casme": 81.0, "casme2": 83.3, "cas_me_2": 83.3},
}
# The other rows of Table 1, "taken from the respective papers".
_QUOTED = (
    ("STCLQP", "57.31", "58.39", "-", 2016),
    ("FMBH", "61.33", "69.11", "73.67", 2018),
    ("CNN + Optical Flow", "56.60", "56.94", "-", 2018),
    ("3D Flow CNN", "54.44", "59.11", "-", 2018),
    ("LEARNet", "80.62", "76.57", "76.57", 2019),
    ("MicroExpSTCNN", "-", "-", "87.80", 2019),
    ("MicroAttention", "-", "65.90", "-", 2020),
)
# What is varied, by its name in tables and pictures, and what is added to a run's name.
NETWORKS = {MERANET: {"model": "meranet"}, RESNET: {"model": "resnet3d"}}
_SHARED = {
    "shared CNN (CN-SCNN)": {"shared": "cnn"},
    "shared MLP (CN-SMLP)": {"shared": "mlp"},
}
_KERNELS = {f"kernel {size}": {"kernel_size": size} for size in (3, 5, 7)}

# A run, by its data set, protocol and what is varied.
Key = tuple[str, str, str]


def plan(
    experiment: Experiment,
    bases: Sequence[TrainConfig],
    protocols: Sequence[str],
    loso_seeds: int,
) -> dict[Key, TrainConfig]:
    """The runs that an experiment needs.

    Experiments share what they have in common: the run of MERANet under the hold-out is
    the same in all.

    Args:
      experiment: which.
      bases: the configuration for each data set, with all its seeds.
      protocols: of ``table1``; the others have that of their base.
      loso_seeds: of ``table1``: how many of the seeds leave-one-subject-out has.
    """
    changes = {
        "table1": NETWORKS,
        "figure4": _SHARED,
        "figure5": _KERNELS,
        "figure6": NETWORKS,
        "parameters": {},
    }[experiment]
    if experiment != "table1":
        loso_seeds = math.inf
    needed = {}
    for base in bases:
        for protocol in protocols if experiment == "table1" else [base.protocol]:
            for label, change in changes.items():
                config = base.change(protocol=protocol, **change)
                if protocol == "loso" and loso_seeds < len(base.all_seeds):
                    config = _of_seeds(config, base.all_seeds[:loso_seeds])
                needed[base.dataset, protocol, label] = _named(config)
    return needed


def _of_seeds(config: TrainConfig, seeds: Sequence[int]) -> TrainConfig:
    if len(seeds) == 1:
        return config.change(seed=seeds[0], seeds=None)
    return config.change(seed=0, seeds=",".join(map(str, seeds)))


def _named(config: TrainConfig) -> TrainConfig:
    """With a name that tells what is varied, as the default does not."""
    name, own = config.run_name, vars(config.settings)
    default = config.recogniser.settings()
    if own.get("shared", "cnn") != getattr(default, "shared", "cnn"):
        name += f"-{config.settings.shared}"
    if "kernel_size" in own and config.settings.kernel_size != default.kernel_size:
        name += f"-kernel{config.settings.kernel_size}"
    return config.change(name=name)


def table1(finished: Mapping[Key, Run]) -> tuple[list[dict], str]:
    """Both networks under each protocol, compared on the same clips, beside the paper.

    Returns:
      A row for each run, and all of it in Markdown.
    """
    rows, pairs = [], {}
    for (dataset, protocol, network), run in finished.items():
        read = reader.read_report(run.path)
        paper = _PAPER[network].get(dataset.partition("/")[0])
        row = {
            "dataset": dataset,
            "protocol": protocol,
            "network": network,
            "test_clips": min(seed["clips"] for seed in read["by_seed"]),
            "subjects": read["subjects"],
            "seeds": len(read["seeds"]),
        }
        for name in ("accuracy", "uf1", "uar"):
            found = read["metrics"][name]
            low, high = found["interval"] or (None, None)
            row |= {name: found["mean"], f"{name}_sd": found["sd"]}
            row |= {f"{name}_low": low, f"{name}_high": high}
        row["paper_accuracy"] = paper / 100 if paper and protocol == "holdout" else None
        rows.append(row)
        pairs.setdefault((dataset, protocol), {})[network] = run
    text = [
        "# Table 1: MERANet beside its 3D ResNet",
        "",
        markdown.table(
            [
                "data set",
                "protocol",
                "network",
                "test clips a seed",
                "seeds",
                "accuracy",
                "UF1",
                "UAR",
                "paper's accuracy",
            ],
            [
                [
                    row["dataset"],
                    row["protocol"],
                    row["network"],
                    row["test_clips"],
                    row["seeds"],
                    *(_number(row, name) for name in ("accuracy", "uf1", "uar")),
                    _share(row["paper_accuracy"]),
                ]
                for row in rows
            ],
        ),
        "",
        "Means over seeds, standard deviations over them, and 95 % intervals: of a "
        "single seed's accuracy Wilson's, else from a bootstrap over subjects. The "
        "paper's protocol is `holdout`, whose test parts share subjects with training.",
        "",
        "## MERANet - 3D ResNet, on the same clips",
        "",
    ]
    text.append(
        markdown.table(
            [
                "data set",
                "protocol",
                "of",
                "difference",
                "over subjects",
                "over seeds",
                "better",
            ],
            [
                [dataset, protocol, *cells]
                for (dataset, protocol), pair in pairs.items()
                for cells in _differences(pair[MERANET], pair[RESNET])
            ],
        )
    )
    text += [
        "",
        "95 % intervals: over subjects from a bootstrap, what other people would "
        "change; over seeds Student's, what another seed would: other parameters, "
        "another order and, but for loso, another split. Unless each has 0 outside, "
        "it is not told which network is better; of one seed it never is.",
        "",
        "## Quoted, not run: the other methods of the paper's Table 1",
        "",
        "Accuracies in per cent as the paper took them from the respective papers, "
        "which have other clips, classes and protocols: not to be compared with ours.",
        "",
        markdown.table(["method", "CASME", "CASME II", "CAS(ME)^2", "year"], _QUOTED),
    ]
    return rows, "\n".join(text) + "\n"


def _differences(first: Run, second: Run) -> list[list[str]]:
    """The cells of a comparison, for each metric."""
    tested = [predictions.read(run.path / "predictions.csv") for run in (first, second)]
    verdicts = {1: MERANET, -1: RESNET, 0: "not told"}
    cells = []
    for name, row in comparison.compare(*tested)["metrics"].items():
        intervals = [
            "-" if bounds is None else "{:+.3f} to {:+.3f}".format(*bounds)
            for bounds in (row["interval"], row["seeds_interval"])
        ]
        verdict = verdicts[comparison.significant_winner(row)]
        cells.append(
            [comparison.NAMES[name], f"{row['difference']:+.3f}", *intervals, verdict]
        )
    return cells


def losses(finished: Mapping[Key, Run]) -> dict[str, dict[str, np.ndarray]]:
    """The validation losses of runs that are varied, by data set and by variant.

    Returns:
      Of each float [seeds, epochs]; the folds of a seed are averaged.
    """
    found = {}
    for (dataset, _, label), run in finished.items():
        lines = reader.read_lines(run.path)
        by_seed = {}
        for folder, fold in lines.items():
            seed = folder.partition("-")[0]
            by_seed.setdefault(seed, []).append([x["validation_loss"] for x in fold])
        values = [np.mean(folds, 0) for folds in by_seed.values()]
        found.setdefault(dataset, {})[label] = np.array(values)
    return found


def loss_rows(found: dict[str, dict[str, np.ndarray]]) -> list[dict]:
    """A row for each data set, variant and epoch."""
    return [
        {
            "dataset": dataset,
            "variant": label,
            "epoch": epoch + 1,
            "seeds": len(values),
            "validation_loss": float(values[:, epoch].mean()),
            "sd": _sd(values[:, epoch]),
        }
        for dataset, variants in found.items()
        for label, values in variants.items()
        for epoch in range(values.shape[1])
    ]


def describe_losses(
    title: str, claim: str, found: dict[str, dict[str, np.ndarray]]
) -> str:
    """What the curves say of the paper's claim, in Markdown."""
    text = [f"# {title}", "", f"The paper: {claim}", ""]
    for dataset, variants in found.items():
        (first, *_) = variants.values()
        text += [
            f"## {dataset}, {len(first)} seeds, {first.shape[1]} epochs",
            "",
            markdown.table(
                ["variant", "lowest validation loss", "last validation loss"],
                [
                    [label, _spread(values.min(1)), _spread(values[:, -1])]
                    for label, values in variants.items()
                ],
            ),
            "",
        ]
        labels = list(variants)
        for index, label in enumerate(labels):
            for other in labels[index + 1 :]:
                apart = variants[label] - variants[other]
                below = int((apart.mean(0) < 0).sum())
                text.append(
                    f"- {label} - {other}: the mean is lower in {below} of "
                    f"{apart.shape[1]} epochs; lowest loss, seed by seed: "
                    + _paired(variants[label].min(1) - variants[other].min(1))
                )
        text.append("")
    text.append(
        "Means with standard deviations over seeds; each seed draws split, parameters "
        "and order, the same for all variants. Differences are of pairs of equal "
        "seeds, with 95 % intervals by Student's t."
    )
    return "\n".join(text) + "\n"


def _paired(differences: np.ndarray) -> str:
    mean = float(differences.mean())
    interval = metrics.t_interval(differences)
    if interval is None:
        return f"{mean:+.3f} (one seed tells of no spread)"
    low, high = interval
    told = ", 0 in it" if low <= 0 <= high else ""
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}){told}"


def describe_saliency(rows: Sequence[dict], checks: Sequence[dict]) -> str:
    """How well maps point, and whether they collapse, in Markdown.

    Args:
      rows: for each data set, network, seed and kind of map the means of
        ``saliency.localisation`` over test clips.
      checks: for each data set and network the rows of ``explainer.sanity``.
    """
    groups = {}
    for row in rows:
        key = (row["dataset"], row["network"], row["map"])
        groups.setdefault(key, []).append(row)
    names = ("energy", "energy_by_chance", "auc", "frame_energy")
    names += ("frame_energy_by_chance", "frame_correlation")
    text = ["## Do the maps lie where the face moved?", ""]
    if groups:
        text += [
            markdown.table(
                ["data set", "network", "map", "seeds", "share of the map", "by chance"]
                + ["AUC", "share in frames that moved", "by chance"]
                + ["correlation over frames"],
                [
                    [*key, len(of)]
                    + [_spread(np.array([row[name] for row in of])) for name in names]
                    for key, of in groups.items()
                ],
            ),
            "",
            "Means over all test clips in which something moved, with standard "
            "deviations over seeds. `By chance` is what an even map has, whose AUC is "
            "0.5.",
        ]
    else:
        text.append("It is not known of these data sets where the face moved.")
    text += [
        "",
        "## Do they collapse when what was learnt is gone?",
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
        "Rank correlation (Spearman) with the maps of the trained network as its "
        "layers are drawn anew, from the head down (Adebayo et al. 2018). A map that "
        "keeps its correlation shows the clip and not what was learnt.",
    ]
    return "\n".join(text) + "\n"


def _number(row: dict, name: str) -> str:
    text = f"{row[name]:.3f}"
    if row[f"{name}_sd"] is not None:
        text += f" ± {row[f'{name}_sd']:.3f}"
    if row[f"{name}_low"] is not None:
        text += f" ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
    return text


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _sd(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _spread(values: np.ndarray) -> str:
    spread = _sd(values)
    return f"{values.mean():.3f}" + ("" if spread is None else f" ± {spread:.3f}")
