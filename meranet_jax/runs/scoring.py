"""Scores predictions of another program as those of a run are scored."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from meranet_jax import config as configs
from meranet_jax import files, version
from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.data.clips import Clips
from meranet_jax.errors import UserError
from meranet_jax.evaluation import external, prediction_file, summary
from meranet_jax.evaluation.external import Matched, Reference
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import (
    composite_text,
    report,
    report_text,
    run_text,
    train_run,
    verification,
    writer,
)
from meranet_jax.runs.cross_dataset import Target
from meranet_jax.runs.formatters import count
from meranet_jax.runs.reader import Run
from meranet_jax.runs.train_run import Prepare

# What a report says of predictions whose making cannot be checked.
UNKNOWN = (
    "How the predictions were made is unknown to this program: it cannot check that no "
    "test clip and no subject of one was in the training, and that no test clip was "
    "used to choose an epoch, a setting or the system itself. The numbers can be "
    "compared with those of a run only if this holds."
)


def score(
    path: Path,
    target: Target,
    prepare: Prepare,
    *,
    data_dir: str | None = None,
    split: str | None = None,
) -> dict:
    """Scores the predictions in a CSV file on the clips of a data set.

    Args:
      path: the file; see ``prediction_file``.
      target: the data set, its classes, and how it is read.
      prepare: see ``train_run.Prepare``.
      data_dir: folder of the records.
      split: file ``split.json`` whose test clips are predicted; None for all clips.

    Returns:
      A report that can be written as JSON. Its numbers are those of the report of a run
      with the same predictions; those that need probabilities are missing if the file
      has none.

    Raises:
      UserError: if file and data set do not match, or a flag or the split is invalid.
      DataError: if the data set cannot be prepared.
      OSError: if the file cannot be opened.
    """
    # Read first: preparing a data set may take long.
    file = prediction_file.read(path)
    config = configuration(target, data_dir)
    records, clips = train_run.load_clips(config, prepare)
    reference = Reference(
        source=f"the records of {config.dataset}",
        classes=tuple(clips.classes),
        clips=clips.clip_ids,
        datasets=clips.datasets,
        subjects=clips.subjects,
        truth=clips.labels.tolist(),
        left_out=clips.left_out_ids,
        unrecorded=sum(clips.left_out.values()) - len(clips.left_out_ids),
    )
    seeds, notes = sorted(set(file.seeds)), []
    protocol = tested = None
    if split is not None:
        protocol, tested = _read_split(Path(split).expanduser(), clips)
        tested = _of_seeds(tested, seeds, split, notes)
    matched = external.match(file, reference, tested)
    return {
        "evaluation": "predictions of another program",
        "file": str(path.absolute()),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "how_predicted": UNKNOWN,
        "datasets": list(config.datasets),
        "protocol": protocol,
        "split": split,
        "seeds": seeds,
        **_results(matched),
        "notes": [*notes, *matched.notes],
        "settings": target.given(),
        "records": [str(folder.absolute()) for folder in records],
        "data": writer.describe_clips(clips),
        "version": version.__version__,
    }


def configuration(target: Target, data_dir: str | None) -> TrainConfig:
    """Returns the configuration that ``train.py`` has for a data set and its flags.

    Raises:
      UserError: if a flag is invalid.
    """
    given = target.given() | {"data_dir": data_dir, "feed": "records"}
    if target.crop == "default":
        del given["crop"]
    return configs.default_config(given.pop("dataset"), "paper").change(**given)


def _read_split(path: Path, clips: Clips) -> tuple[str, dict[int, dict[str, str]]]:
    """Returns protocol, and for each seed the name of the fold of each test clip.

    Raises:
      UserError: if the split cannot be read or has a leak.
    """
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read --split={path}: {error}.") from error
    protocol, split = splits.from_json(text, clips, f"--split={path}")
    if protocol not in get_args(configs.Protocol):
        raise UserError(
            f"--split={path} has the protocol {protocol}, which is none of "
            f"{', '.join(get_args(configs.Protocol))}."
        )
    splits.check(split, clips, protocol)
    return protocol, {
        seed: {clips.clip_ids[i]: fold.name for fold in folds for i in fold.test}
        for seed, folds in split.items()
    }


def _of_seeds(
    tested: Mapping[int, dict[str, str]],
    seeds: list[int],
    where: str,
    notes: list[str],
) -> dict[int, dict[str, str]]:
    """Returns the test clips of each seed of a file; adds a note on other seeds.

    Those of a single seed are used for every seed, as ``train.py --split`` does.

    Raises:
      UserError: if there are none for a seed.
    """
    if len(tested) == 1:
        (clips,) = tested.values()
        return dict.fromkeys(seeds, clips)
    if unknown := [seed for seed in seeds if seed not in tested]:
        raise UserError(
            f"{where} has no test clips for seed {unknown[0]}. It has the seeds "
            f"{', '.join(map(str, tested))}; give predictions for these."
        )
    if missing := [seed for seed in tested if seed not in seeds]:
        notes.append(
            f"no predictions for {', '.join(map(str, missing))} of the "
            f"{len(tested)} seeds of {where}"
        )
    return {seed: tested[seed] for seed in seeds}


def _results(matched: Matched) -> dict:
    """Returns the results of a report."""
    predicted = matched.predictions
    results = {"folds": None, **_summarise(predicted, matched)}
    if matched.has_folds:
        pairs = zip(predicted.seeds.tolist(), predicted.folds.tolist(), strict=True)
        folds = list(dict.fromkeys(pairs))
        results |= report.fold_results(folds, predicted)
        results["folds"] = len({name for _, name in folds})
    if len(names := list(dict.fromkeys(predicted.datasets.tolist()))) > 1:
        results["by_dataset"] = {
            name: _summarise(predicted.select(predicted.datasets == name), matched)
            for name in names
        }
    return results


def _summarise(predicted: Predictions, matched: Matched) -> dict:
    """Computes all metrics; without probabilities there is no calibration."""
    found = summary.summarise(predicted)
    if not matched.has_probabilities:
        del found["calibration"]
        for row in (found["metrics"], *found["by_seed"]):
            del row["ece"]
    return found


def describe(made: dict) -> str:
    """Formats a report for a terminal.

    Args:
      made: the result of ``score``.
    """
    seeds = made["seeds"]
    if made["split"] is None:
        tested = "All clips of these classes are scored"
    else:
        tested = f"The test clips of {made['split']} are scored ({made['protocol']})"
    lines = [
        f"Predictions of another program, {made['file']}, on "
        f"{', '.join(made['datasets'])}. Classes: "
        f"{run_text.class_list(made['data'])}. {tested}: "
        f"{report_text.count_test_clips(made)} of "
        f"{count(made['subjects'], 'subject')}, "
        f"{count(len(seeds), 'seed')} ({', '.join(map(str, seeds))}). "
        "The predictions of a seed are pooled into one confusion matrix, from which "
        "every number is computed.",
        UNKNOWN,
    ]
    lines += composite_text.megc2019_lines(made["data"])
    lines += [f"left out: {n} clips ({w})" for w, n in made["data"]["left_out"].items()]
    lines += [f"note: {note}" for note in made["notes"]]
    lines.append(report_text.describe_results(made))
    if len(seeds) > 1:
        for row in made["by_seed"]:
            lines.append(
                f"seed {row['seed']}: accuracy {row['accuracy']:.3f}, "
                f"UF1 {row['uf1']:.3f}, UAR {row['uar']:.3f} ({row['clips']} clips)"
            )
    return "\n".join([*lines, *_confusion(made)])


def _confusion(made: dict) -> list[str]:
    """Returns the lines of the confusion matrix."""
    names, matrix = list(made["by_class"]), made["pooled"]["confusion"]
    of = " of all seeds" if len(made["seeds"]) > 1 else ""
    lines = [f"Confusion matrix{of} (rows: true class, columns: predicted class):"]
    first = max(map(len, names))
    widths = [
        max(len(name), *(len(str(row[column])) for row in matrix))
        for column, name in enumerate(names)
    ]
    for label, row in zip(["", *names], [names, *matrix], strict=True):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append(f"  {label:{first}}  {'  '.join(cells)}")
    return lines


def check_report_path(path: Path) -> None:
    """Checks that a report can be written without replacing a file.

    Raises:
      UserError: if the file exists, or its folder does not.
    """
    if path.exists():
        raise UserError(
            f"--report={path} exists and is not replaced. Delete it or choose another "
            "name."
        )
    if not path.parent.is_dir():
        raise UserError(f"--report={path}: there is no folder {path.parent}.")


def write(made: dict, path: Path) -> None:
    """Writes a report as JSON."""
    files.write_json(path, made)


def match_run(path: Path, run: Run) -> Predictions:
    """Reads predictions of another program of the test clips of a run.

    Args:
      path: the CSV file.
      run: a finished run. Its predictions have the labels, subjects and folds.

    Raises:
      UserError: if the run is not finished, or the file does not have a prediction for
        each of its test clips and seeds.
      OSError: if the file cannot be opened.
    """
    file, of_run = prediction_file.read(path), verification.read_predictions(run)
    _, first = np.unique(of_run.clips, return_index=True)
    once = of_run.select(first)
    reference = Reference(
        source=f"the test clips of {run.path}",
        classes=of_run.classes,
        clips=once.clips.tolist(),
        datasets=once.datasets.tolist(),
        subjects=once.subjects.tolist(),
        truth=once.truth.tolist(),
        left_out={},
    )
    tested: dict[int, dict[str, str]] = {}
    triples = (of_run.seeds.tolist(), of_run.clips.tolist(), of_run.folds.tolist())
    for seed, clip, fold in zip(*triples, strict=True):
        tested.setdefault(seed, {})[clip] = fold
    seeds = sorted(set(file.seeds))
    # The comparison reports other seeds.
    of_seeds = _of_seeds(tested, seeds, str(run.path), [])
    return external.match(file, reference, of_seeds).predictions
