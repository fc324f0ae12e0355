"""Reads the folder of a run; see ``layout`` for its files."""

import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from meranet_jax import megc2019
from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets
from meranet_jax.data.source_records import Source
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.flags import read_flags
from meranet_jax.runs.layout import FoldLayout, RunLayout

# Settings that do not change results, so that a run may be resumed with other values.
# Of --split, --classes and --init the content is compared, not the names of the files.
NOT_RESULT_SETTINGS = (
    "manual_dir",
    "data_dir",
    "runs_dir",
    "name",
    "overwrite",
    "devices",
    "feed",
    "checkpoint_every",
    "compile_ahead",
    "coordinator",
    "num_processes",
    "process_id",
    "split",
    "classes",
    "init",
)


def result_settings(config: TrainConfig) -> dict[str, object]:
    """Returns the settings that determine results, by flag."""
    return {
        f"--{name}": value
        for name, value in config.flags().items()
        if name not in NOT_RESULT_SETTINGS
    }


@dataclasses.dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
      path: the run folder.
      config: the settings.
      records: the folder of records of each data set.
      data: fingerprint, classes and counts of the clips: ``data`` in ``config.json``.
      split_text: the text of ``split.json``.
      starts: time, command, versions and devices of each start.
      origin: the weights that the run started from, see
        ``origins.InitialWeights.description``; None without ``--init``.
    """

    path: Path
    config: TrainConfig
    records: list[Path]
    data: dict
    split_text: str
    starts: list[dict]
    origin: dict | None = None

    @property
    def layout(self) -> RunLayout:
        """The paths in the run folder."""
        return RunLayout(self.path)

    @property
    def classes(self) -> class_sets.ClassSet:
        """The emotions of each class."""
        classes = self.data["classes"]
        return {name: tuple(emotions) for name, emotions in classes.items()}

    @functools.cached_property
    def split(self) -> dict:
        """The protocol, and the clip ids of the folds of each seed."""
        return json.loads(self.split_text)

    @property
    def folds(self) -> list[tuple[int, int, str]]:
        """Seed, number (from 0 for each seed) and name of each fold."""
        return [
            (int(seed), number, fold["name"])
            for seed, folds in self.split["seeds"].items()
            for number, fold in enumerate(folds)
        ]

    def sources(self, data_dir: str | None = None) -> list[Source]:
        """Returns the records of each data set.

        Args:
          data_dir: the folder of the records, if they were moved.
        """
        folders = self.records
        if data_dir is not None:  # <data_dir>/<name>/<configuration>/<version>
            base = Path(data_dir).expanduser()
            folders = [base.joinpath(*folder.parts[-3:]) for folder in folders]
        # Older versions chose no clips by a rule.
        by_rule = self.data.get("megc2019", {})
        return [
            Source(
                one.dataset,
                folder,
                one.min_frames,
                class_sets.label(self.config.classes, one.label),
                megc2019.find(one.dataset)
                if one.dataset.partition("/")[0] in by_rule
                else None,
            )
            for one, folder in zip(self.config.each_dataset(), folders, strict=True)
        ]

    def finished(
        self, known: Mapping[Path, Predictions] | None = None
    ) -> dict[tuple[int, int], tuple[FoldLayout, Predictions]]:
        """Returns the folder and the predictions of each finished fold.

        Args:
          known: predictions that were read before, by the path of the fold's folder.
            They are not read again.

        Returns:
          Both by the seed and the number of the fold.
        """
        found, known = {}, known or {}
        for seed, number, _ in self.folds:
            ids = self.split["seeds"][str(seed)][number]["test"]
            for fold in self.layout.find_folds(seed, number):
                predicted = known.get(fold.path)
                if predicted is None:
                    predicted = read_fold_predictions(fold, ids)
                if predicted is not None:
                    found[seed, number] = fold, predicted
        return found


def read_epoch_metrics(path: Path) -> dict[str, list[dict]]:
    """Reads the metrics of the finished epochs of each fold of a run.

    Incomplete lines, from a killed process or a full disk, are skipped: the metrics are
    only plotted.

    Args:
      path: the run folder.

    Returns:
      The metrics of each epoch, by the name of the fold's folder.
    """
    found = {}
    for fold in RunLayout(path).all_folds():
        if not fold.metrics.exists():
            continue
        lines = []
        for line in fold.metrics.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        found[fold.path.name] = lines
    return found


def read_seconds(path: Path) -> float | None:
    """Returns how long a fold of a run was fitted, the mean of all folds, in seconds.

    It is the time of the epochs of a network, or of fitting a descriptor's classifier
    while other folds are fitted side by side. None if an earlier version trained one.

    Args:
      path: the run folder.
    """
    by_epoch = read_epoch_metrics(path)
    found = []
    for fold in RunLayout(path).all_folds():
        lines = by_epoch.get(fold.path.name, [])
        if not lines:  # a descriptor
            lines = [json.loads(fold.summary.read_text())]
        seconds = [line.get("seconds") for line in lines]
        if None in seconds:
            return None
        found.append(sum(seconds))
    return sum(found) / len(found) if found else None


def read_fold_predictions(
    fold: FoldLayout, clip_ids: Sequence[str]
) -> Predictions | None:
    """Reads the predictions of a fold; None unless it is finished.

    Args:
      fold: the paths of the fold.
      clip_ids: the clips of its test part, in order. Predictions of others are damaged,
        and the fold does not count as finished.
    """
    with contextlib.suppress(UserError):
        predicted = predictions.read(fold.predictions)
        if predicted.clips.tolist() == list(clip_ids):
            return predicted
    return None


def read(path: Path) -> Run:
    """Reads a run folder.

    Raises:
      UserError: if ``path`` is not a run folder, or a file in it is damaged.
    """
    layout = RunLayout(path)
    if not path.is_dir():
        raise UserError(f"{path} is not a folder.")
    try:
        saved = json.loads(layout.config.read_text())
        split = layout.split.read_text()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} has no {Path(error.filename).name}: it is not a run folder."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    try:
        run = Run(
            path,
            read_flags(saved["config"]),
            [Path(folder) for folder in saved["records"]],
            saved["data"],
            split,
            saved["starts"],
            saved.get("origin"),
        )
        if (run.config.init is None) != (run.origin is None):
            raise ValueError("it does not say what the run started from")
        if run.origin is not None:
            _check_origin(run.origin)
        class_sets.parse(saved["data"]["classes"], "classes")
        if not run.folds or len(run.records) != len(run.config.datasets):
            raise ValueError("no folds, or not a folder of records for each data set")
        for fold in itertools.chain(*run.split["seeds"].values()):
            ids = [fold["name"], *fold["train"], *fold["validation"], *fold["test"]]
            if not all(isinstance(name, str) for name in ids):
                raise ValueError("the name or a clip of a fold is not a string")
    except UserError as error:
        raise UserError(f"{layout.config}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{layout.config.name} or {layout.split.name} in {path} does not have the "
            f"content that this version writes ({type(error).__name__}: {error})."
        ) from error
    return run


def _check_origin(origin: dict) -> None:
    """Raises an exception unless this is what ``origins.load`` describes."""
    for name in ("init", "origin", "digest"):
        if not isinstance(origin[name], str):
            raise ValueError(f"{name} of its initial weights is {origin[name]!r}")
    lists = [origin[name] for name in ("classes", "frozen", "drawn")]
    lists += [names for names in origin["trained_on"].values() if names is not None]
    for names in lists:
        if not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
            raise ValueError(f"its initial weights have {names!r}")


def read_report(path: Path) -> dict:
    """Reads the report of a finished run.

    Args:
      path: the run folder.

    Raises:
      UserError: if the run is not finished, or its report is damaged.
    """
    file = RunLayout(path).report
    try:
        report = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} has no {file.name}: not all of its folds are finished. Start the "
            "same command again to resume it, or merge the shards of a run with "
            "eval.py --merge."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"Cannot read {file}: {error}. Delete this file and start the command that "
            "trained the run again: it writes the report from the predictions."
        ) from error
    return report
