"""The tables, figures and words of an experiment, written into its folder."""

import csv
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.analysis import complexity, experiments, explainer, overlays
from meranet_jax.analysis.experiments import MERANET, RESNET, Experiment, Key
from meranet_jax.analysis.explainer import Explainer
from meranet_jax.config import TrainConfig
from meranet_jax.evaluation import figures
from meranet_jax.runs import verification
from meranet_jax.runs.reader import Run
from meranet_jax.training import precision

# How many clips figure 6 shows, and in how many its sanity checks look.
SHOWN = 6
CHECKED = 6

# Clips whose maps are held at a time.
_HELD = 32


def make(
    experiment: Experiment,
    folder: Path,
    finished: Mapping[Key, Run],
    bases: Sequence[TrainConfig],
) -> str:
    """Write what comes of an experiment, and return it in Markdown.

    Args:
      experiment: which.
      folder: where.
      finished: all runs that it needs.
      bases: the settings for each data set.

    Raises:
      UserError: if the runs cannot be read.
    """
    return _MAKERS[experiment](folder, finished, bases)


def _table1(folder: Path, finished: dict[Key, Run], bases) -> str:
    rows, text = experiments.table1(finished)
    _write_rows(folder / "table1.csv", rows)
    figures.save(figures.paper_comparison(rows), folder / "table1.png")
    return text


def _losses(folder: Path, finished: dict[Key, Run], bases, *, title, claim) -> str:
    found = experiments.losses(finished)
    _write_rows(folder / f"{folder.name}.csv", experiments.loss_rows(found))
    figures.save(figures.validation_losses(found), folder / f"{folder.name}.png")
    return experiments.describe_losses(title, claim, found)


def _localisation(explain: Explainer, every) -> dict[str, dict[str, np.ndarray]]:
    """Of many clips, of which some are held at a time."""
    parts = []
    for first in range(0, len(every), _HELD):
        shown = explain.show_all(every[first : first + _HELD])
        parts.append(explainer.localisation(shown))
    return {
        kind: {
            name: np.concatenate([part[kind][name] for part in parts if part])
            for name in numbers
        }
        for kind, numbers in next((part for part in parts if part), {}).items()
    }


def _figure6(folder: Path, finished: dict[Key, Run], bases) -> str:
    text, rows, checks = ["# Figure 6: where the networks look", ""], [], []
    for dataset in dict.fromkeys(dataset for dataset, _, _ in finished):
        columns = {}
        for network in (MERANET, RESNET):
            (run,) = (
                run
                for (of, _, label), run in finished.items()
                if of == dataset and label == network
            )
            opened = verification.reopen(run, None)
            explain = explainer.Explainer(opened)
            seeds = sorted({job.seed for job in opened.jobs})
            chosen = explainer.test_clips(opened, seeds[0], SHOWN)
            columns[network] = explain.show_all(chosen)
            of_run = {"dataset": dataset, "network": network}
            for seed in seeds if explain.knows_motion else ():
                every = explainer.test_clips(opened, seed, len(opened.clips))
                for kind, numbers in _localisation(explain, every).items():
                    means = {name: float(n.mean()) for name, n in numbers.items()}
                    clips = len(numbers["auc"])
                    rows.append(
                        of_run | {"seed": seed, "map": kind, "clips": clips} | means
                    )
            job = chosen[0][0]
            ids = [name for of, name in chosen if of.folder == job.folder][:CHECKED]
            checks += [of_run | row for row in explainer.sanity(explain, job, ids)]
        plain = dataset.replace("/", "-")
        figures.save(overlays.overview(columns), folder / f"{plain}.png")
        for network, shown in columns.items():
            for one in shown:
                name = f"{plain}-{network.replace(' ', '')}-{overlays.file_name(one)}"
                overlays.save_animation(overlays.animation(one), folder / f"{name}.gif")
        text += [f"![Apex frames and Grad-CAM on {dataset}]({plain}.png)", ""]
    if rows:  # else it is not known where faces moved
        _write_rows(folder / "localisation.csv", rows)
    _write_rows(folder / "sanity.csv", checks)
    return "\n".join([*text, ""]) + experiments.describe_saliency(rows, checks)


def _parameters(folder: Path, finished: dict[Key, Run], bases) -> str:
    (base,) = bases
    config = precision.resolve(base)
    rows, text = complexity.parameters(config, 3, complexity.take_turns)
    _write_rows(folder / "parameters.csv", rows)
    figures.save(figures.parameter_counts(rows[:-1]), folder / "parameters.png")
    return text


def _write_rows(path: Path, rows: list[dict]) -> None:
    with files.atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


_MAKERS = {
    "table1": _table1,
    "figure4": functools.partial(
        _losses,
        title="Figure 4: validation loss, shared CNN and shared MLP",
        claim="the shared CNN has the lower loss at every epoch (section 5.2).",
    ),
    "figure5": functools.partial(
        _losses,
        title="Figure 5: validation loss by the spatio-temporal kernel",
        claim="5 is better than 3 and 7 (section 5.3).",
    ),
    "figure6": _figure6,
    "parameters": _parameters,
}
