"""A run's folder as it is read.

``config.json``, ``split.json``; ``folds/``, a folder for each fold and seed; of a run
whose folds are all finished ``predictions.csv``, ``report.json``, ``report.md`` and the
pictures. ``run_folder`` writes it.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.flags import read_flags

# Settings on which no result hangs, so that a run may go on with others. What --split
# and --classes name is compared itself, and not the names of their files.
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
)


def path_of(config: TrainConfig) -> Path:
    """Where a run's folder is; each part of a run that is divided has its own."""
    name = config.run_name
    if config.shard is not None:
        part, parts = config.shard
        name += f"-shard{part + 1}of{parts}"
    return Path(config.runs_dir).expanduser() / name


def result_settings(config: TrainConfig) -> dict[str, object]:
    """The settings on which results hang, by flag."""
    return {
        f"--{name}": value
        for name, value in config.flags().items()
        if name not in NOT_RESULT_SETTINGS
    }


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder as it is read.

    Attributes:
      path: of the folder.
      config: its settings.
      records: the folders that its clips are from.
      facts: what was known of its clips, see ``config.json``.
      split: the text of ``split.json``.
      starts: when, how and on what it was started.
    """

    path: Path
    config: TrainConfig
    records: list[Path]
    facts: dict
    split: str
    starts: list[dict]

    @property
    def classes(self) -> class_sets.ClassSet:
        """The emotions of each class."""
        return {name: tuple(of) for name, of in self.facts["classes"].items()}

    @functools.cached_property
    def divided(self) -> dict:
        """``split.json``: the protocol, and the folds of each seed by clip id."""
        return json.loads(self.split)

    @property
    def folds(self) -> list[tuple[int, int, str]]:
        """Seed, number and name of each fold."""
        return [
            (int(seed), number, fold["name"])
            for seed, folds in self.divided["seeds"].items()
            for number, fold in enumerate(folds)
        ]

    def finished(
        self, known: Mapping[Path, Predictions] | None = None
    ) -> dict[tuple[int, int], tuple[Path, Predictions]]:
        """Returns the folder and the predictions of each finished fold.

        Args:
          known: predictions that were read before, by the fold's folder; they are not
            read again.
        """
        found, known = {}, known or {}
        for seed, number, _ in self.folds:
            ids = self.divided["seeds"][str(seed)][number]["test"]
            for path in self.path.glob(f"folds/seed{seed}-{number:03d}-*"):
                tested = known[path] if path in known else read_fold(path, ids)
                if tested is not None:
                    found[seed, number] = path, tested
        return found


def read_lines(path: Path) -> dict[str, list[dict]]:
    """The lines of metrics of each fold of a run so far, by its folder's name.

    A line that was cut off, by a kill or a full disk, is passed over: only curves are
    drawn of them.
    """
    found = {}
    for file in sorted(path.glob("folds/*/metrics.jsonl")):
        lines = []
        for line in file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        found[file.parent.name] = lines
    return found


def read_fold(path: Path, test: Sequence[str]) -> Predictions | None:
    """What a fold predicted of its test part; None unless it is finished and whole."""
    with contextlib.suppress(UserError):
        tested = predictions.read(path / "predictions.csv")
        if tested.clips.tolist() == list(test):
            return tested
    return None


def read(path: Path) -> Run:
    """A run's folder.

    Raises:
      UserError: if it is not one.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder.")
    try:
        saved = json.loads((path / "config.json").read_text())
        split = (path / "split.json").read_text()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} has no {Path(error.filename).name}: it is not a run's folder."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    try:
        run = Run(
            path,
            read_flags(saved["config"]),
            [Path(folder) for folder in saved["records"]],
            saved["data"],
            split,
            saved["starts"],
        )
        class_sets.parse(saved["data"]["classes"], "classes")
        if not run.folds or len(run.records) != len(run.config.datasets):
            raise ValueError("no folds, or not a folder of records for each data set")
        for fold in itertools.chain(*run.divided["seeds"].values()):
            ids = [fold["name"], *fold["train"], *fold["validation"], *fold["test"]]
            if not all(isinstance(name, str) for name in ids):
                raise ValueError("a fold whose name or clips are no names")
    except UserError as error:
        raise UserError(f"{path / 'config.json'}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"config.json or split.json in {path} is not one that this version writes "
            f"({type(error).__name__}: {error})."
        ) from error
    return run


def read_report(path: Path) -> dict:
    """The report of a finished run.

    Raises:
      UserError: if there is none.
    """
    try:
        report = json.loads((path / "report.json").read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} has no report.json: not all of its folds are finished. Start the "
            "same command again to go on; parts of a run are pooled with eval.py "
            "--merge."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'report.json'} cannot be read: {error}") from error
    return report
