"""Writes the table, the figures and the text of an experiment."""

import csv
import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.analysis import (
    complexity,
    experiments,
    explainer,
    overlays,
    saliency_checks,
    table1,
    variants,
)
from meranet_jax.analysis.experiments import MERANET, RESNET, Experiment, Key
from meranet_jax.analysis.explainer import Explainer
from meranet_jax.config import TrainConfig
from meranet_jax.evaluation import figures
from meranet_jax.runs import reader, verification
from meranet_jax.runs.reader import Run
from meranet_jax.training import precision

# Number of clips in figure 6, and in its sanity check.
SHOWN = 6
CHECKED = 6

# Number of clips whose maps are in memory at a time.
_MAX_CLIPS = 32

# File in the folder of results that says what they were made from
_SOURCES = "sources.json"


def keep_earlier(
    folder: Path, finished: Mapping[Key, Run], bases: Sequence[TrainConfig]
) -> Path | None:
    """Moves earlier results away unless they were made from the same runs.

    Results of an earlier version, which do not say what they were made from, are moved,
    too. Then it writes what the new results are made from.

    Args:
      folder: the folder of an experiment's results, which exists.
      finished: see ``make``.
      bases: see ``make``.

    Returns:
      The folder that the earlier results are in now, a new one in ``folder``; None if
      there were none, or they may be replaced.
    """
    sources = files.json_round_trip(
        {
            "settings": [reader.result_settings(base) for base in bases],
            "runs": [
                {
                    "run": [*key],
                    "folder": str(run.path.absolute()),
                    "settings": reader.result_settings(run.config),
                    # A run that was deleted and trained again is another one.
                    "started": [start.get("date") for start in run.starts[:1]],
                }
                for key, run in finished.items()
            ],
        }
    )
    file = folder / _SOURCES
    try:
        before = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        before = None
    earlier = [path for path in folder.iterdir() if path.is_file()]
    if before == sources or not earlier:
        kept = None
    else:
        kept = _new_folder(folder)
        for path in earlier:
            path.rename(kept / path.name)
    files.write_json(file, sources)
    return kept


def _new_folder(folder: Path) -> Path:
    """Makes a folder in another one, which is named after the current time."""
    now = datetime.datetime.now()
    while True:
        path = folder / f"earlier-{now:%Y%m%d-%H%M%S}"
        try:
            path.mkdir()
        except FileExistsError:
            now += datetime.timedelta(seconds=1)
        else:
            return path


def make(
    experiment: Experiment,
    folder: Path,
    finished: Mapping[Key, Run],
    bases: Sequence[TrainConfig],
) -> str:
    """Writes the table and the figures of an experiment.

    Args:
      experiment: the experiment.
      folder: the folder to write to, which exists.
      finished: the runs that ``experiments.plan`` names.
      bases: the settings for each data set.

    Returns:
      The results in Markdown.

    Raises:
      UserError: if a run cannot be read.
    """
    return _MAKERS[experiment](folder, finished, bases)


def _table1(folder: Path, finished: dict[Key, Run], bases) -> str:
    rows, text = table1.make(finished)
    _write_rows(folder / "table1.csv", rows)
    figures.save(figures.systems(rows), folder / "table1.png")
    return text


def _losses(folder: Path, finished: dict[Key, Run], bases, *, title, claim) -> str:
    found = experiments.losses(finished)
    _write_rows(folder / f"{folder.name}.csv", experiments.loss_rows(found))
    figures.save(figures.validation_losses(found), folder / f"{folder.name}.png")
    return experiments.describe_losses(title, claim, found)


def _localisation(explain: Explainer, clips) -> dict[str, dict[str, np.ndarray]]:
    """Computes ``saliency_checks.localisation`` over many clips in chunks."""
    parts = []
    for first in range(0, len(clips), _MAX_CLIPS):
        explained = explain.explain_all(clips[first : first + _MAX_CLIPS])
        parts.append(saliency_checks.localisation(explained))
    return {
        kind: {
            name: np.concatenate([part[kind][name] for part in parts if part])
            for name in numbers
        }
        for kind, numbers in next((part for part in parts if part), {}).items()
    }


def _figure6(folder: Path, finished: dict[Key, Run], bases) -> str:
    text, rows, checks = ["# Figure 6: saliency maps", ""], [], []
    for dataset in dict.fromkeys(dataset for dataset, _, _ in finished):
        columns = {}
        for network in (MERANET, RESNET):
            (run,) = (
                run
                for (of, _, label), run in finished.items()
                if of == dataset and label == network
            )
            opened = verification.open_run(run, None)
            explain = explainer.Explainer(opened)
            seeds = sorted({job.seed for job in opened.jobs})
            chosen = explainer.test_clips(opened, seeds[0], SHOWN)
            columns[network] = explain.explain_all(chosen)
            of_run = {"dataset": dataset, "network": network}
            for seed in seeds if explain.has_motion_masks else ():
                clips = explainer.test_clips(opened, seed, len(opened.clips))
                for kind, scores in _localisation(explain, clips).items():
                    means = {name: float(n.mean()) for name, n in scores.items()}
                    count = len(scores["auc"])
                    rows.append(
                        of_run | {"seed": seed, "map": kind, "clips": count} | means
                    )
            job = chosen[0][0]
            ids = [name for other, name in chosen if other is job][:CHECKED]
            checks += [
                of_run | row for row in saliency_checks.sanity(explain, job, ids)
            ]
        plain = dataset.replace("/", "-")
        figures.save(overlays.overview(columns), folder / f"{plain}.png")
        for network, explained in columns.items():
            for one in explained:
                name = f"{plain}-{network.replace(' ', '')}-{overlays.file_name(one)}"
                overlays.save_animation(overlays.animation(one), folder / f"{name}.gif")
        text += [f"![Apex frames and Grad-CAM on {dataset}]({plain}.png)", ""]
    if rows:  # otherwise the records have no motion masks
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


def _compare(folder: Path, finished: dict[Key, Run], bases, *, experiment) -> str:
    rows, text = variants.compare(experiment, finished, bases)
    _write_rows(folder / f"{experiment}.csv", rows)
    if experiment == "learning_curve":
        figure = figures.small_data(rows)
    else:
        figure = figures.variants(rows)
    figures.save(figure, folder / f"{experiment}.png")
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
        claim="kernel 5 is better than 3 and 7 (section 5.3).",
    ),
    "figure6": _figure6,
    "parameters": _parameters,
    **{
        experiment: functools.partial(_compare, experiment=experiment)
        for experiment in variants.TITLES
    },
}
