"""The run folder: what was asked for, what happened, what came of it.

``config.json``, ``split.json``; ``folds/``, a folder for each fold and seed with
``metrics.jsonl`` (a line an epoch), ``events/`` for TensorBoard, ``checkpoints/`` while
it trains, then ``weights/`` of the chosen one, ``fold.json`` and ``predictions.csv``.
When all are finished, over all: ``predictions.csv``, ``report.json``, ``report.md``
and the pictures.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import filelock
import jax
from tensorboardX import SummaryWriter

from meranet_jax import checkpoint, classes, predictions, splits
from meranet_jax.config import TrainConfig
from meranet_jax.data import Clips
from meranet_jax.errors import UserError
from meranet_jax.predictions import Predictions
from meranet_jax.splits import Job, Split
from meranet_jax.training import Weights

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

# Settings on which no result hangs, so that a run may go on with others. What --split
# and --classes name is compared itself, and not the names of their files.
ELSEWHERE = (
    "manual_dir",
    "data_dir",
    "runs_dir",
    "name",
    "overwrite",
    "devices",
    "split",
    "classes",
)

# What a run's folder holds before there is a config.json.
_FIRST = {".lock", "split.json", ".split.json.part", ".config.json.part"}


def path_of(config: TrainConfig) -> Path:
    """Where a run's folder is; each part of a run that is divided has its own."""
    name = config.run_name
    if config.shard is not None:
        part, parts = config.shard
        name += f"-shard{part + 1}of{parts}"
    return Path(config.runs_dir).expanduser() / name


def check_free(config: TrainConfig, path: Path) -> None:
    """Raises UserError if there is something that is not this run and must not go."""
    if not path.exists():
        return
    if {child.name for child in path.iterdir()} <= _FIRST:
        return  # of a start that was killed before it had written anything else
    try:
        saved = json.loads((path / "config.json").read_text())
        is_run = {"config", "records"} <= saved.keys()
    except (OSError, ValueError, AttributeError):
        is_run = False
    if not is_run:
        raise UserError(
            f"{path} is not the folder of a run"
            + (", so --overwrite does not replace it" if config.overwrite else "")
            + ". Choose another --name."
        )
    if config.overwrite:
        return
    differing = _differing(saved["config"], _settings(config))
    if differing:
        raise UserError(
            f"There is a run in {path} with other settings: {'; '.join(differing)}. "
            "Choose another --name, or replace it with --overwrite."
        )


class RunFolder:
    """A run's folder while it is written; a context manager.

    Only one process at a time writes to it.
    """

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        clips: Clips,
        split: Split,
        records: Sequence[Path],
    ):
        """Makes the folder, or goes on with one of the same settings.

        Args:
          path: of the folder.
          config: the run's.
          clips: all clips.
          split: its folds.
          records: the folders that the clips are from.

        Raises:
          UserError: if another run is there, or its clips were others, or another
            process writes to it.
        """
        check_free(config, path)
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UserError(
                f"Another process is training the run in {path}."
            ) from error
        try:
            self._begin(config, clips, split, records)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, config, clips, split, records):
        path = self.path
        if config.overwrite:
            # The configuration last: while it is there, this is known for a run.
            for child in sorted(path.iterdir(), key=lambda p: p.name == "config.json"):
                if child.is_dir():
                    shutil.rmtree(child)
                elif child.name != ".lock":
                    child.unlink()
        self._saved = {
            "config": _settings(config),
            "records": [str(folder.absolute()) for folder in records],
            "data": _facts(clips, split),
        }
        text = splits.to_json(split, clips, config.protocol)
        self._saved["starts"] = self._starts(text)
        with whole(path / "split.json") as part:
            part.write_text(text)
        write_json(path / "config.json", self._saved)

    def log_start(self, devices: Sequence[jax.Device]) -> None:
        """Note when, how and on what the run is started, or goes on."""
        self._saved["starts"].append(_start(devices))
        write_json(self.path / "config.json", self._saved)

    def _starts(self, split: str) -> list[dict]:
        """The starts before this one.

        Raises:
          UserError: if they were on other clips.
        """
        if not (self.path / "config.json").exists():
            return []
        saved = json.loads((self.path / "config.json").read_text())
        before, now = saved.get("data", {}), through_json(self._saved["data"])
        if before.get("classes") != now["classes"]:
            what = "its classes were others"
        elif before != now:
            what = "its records were others"
        elif (self.path / "split.json").read_text() != split:
            what = "its split.json is not the one that its settings give"
        else:
            return saved["starts"]
        raise UserError(
            f"The run in {self.path} cannot go on: {what}. Choose another --name, or "
            "replace it with --overwrite."
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._lock.release()

    def is_finished(self, job: Job, clips: Clips) -> bool:
        """Whether a fold is trained and tested."""
        path = self.path / "folds" / job.folder
        ids = [clips.clip_ids[index] for index in job.fold.test]
        return read_fold(path, ids) is not None

    def fold(self, job: Job) -> "FoldFolder":
        """A fold's folder, empty."""
        return FoldFolder(self.path / "folds" / job.folder, job)


class FoldFolder:
    """A fold's folder while it is written; a context manager."""

    def __init__(self, path: Path, job: Job):
        """Makes it, and removes what a start before this one left of it."""
        self._job = job
        self.path = path
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        self.checkpoints = path / "checkpoints"
        self._events = SummaryWriter(str(path / "events"))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._events.close()

    def log_epoch(self, line: dict[str, float]) -> None:
        """Add an epoch to ``metrics.jsonl`` and the events."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, line["step"])
        self._events.flush()

    def finish(self, weights: Weights, tested: Predictions, epoch: int) -> None:
        """Keep what was chosen and what it predicts; then the fold is finished.

        Args:
          weights: of the chosen checkpoint; the others are removed.
          tested: the test part's predictions.
          epoch: of the checkpoint.
        """
        checkpoint.save_weights(self.path / "weights", weights)
        write_json(
            self.path / "fold.json",
            {
                "seed": self._job.seed,
                "fold": self._job.fold.name,
                "epoch": epoch,
                **{name: len(part) for name, part in self._job.fold.parts.items()},
                "commit": commit(),
            },
        )
        shutil.rmtree(self.checkpoints)
        # The last to be written: it says that the fold is finished.
        with whole(self.path / "predictions.csv") as part:
            predictions.write(tested, part)


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
    def classes(self) -> classes.ClassSet:
        """The emotions of each class."""
        return {name: tuple(of) for name, of in self.facts["classes"].items()}

    @property
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

    def finished(self) -> dict[tuple[int, int], tuple[Path, Predictions]]:
        """The folders of the folds that are finished, and what they predicted."""
        found = {}
        for seed, number, _ in self.folds:
            ids = self.divided["seeds"][str(seed)][number]["test"]
            for path in self.path.glob(f"folds/seed{seed}-{number:03d}-*"):
                if (tested := read_fold(path, ids)) is not None:
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
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in saved["config"].items()
        }
        run = Run(
            path,
            TrainConfig(**values),
            [Path(folder) for folder in saved["records"]],
            saved["data"],
            split,
            saved["starts"],
        )
        classes.parse(saved["data"]["classes"], "classes")
        if not run.folds or len(run.records) != len(run.config.datasets):
            raise ValueError("no folds, or not a folder of records for each data set")
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


@contextlib.contextmanager
def whole(path: Path):
    """A path to write to that becomes ``path`` when all is written, or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """Write it whole."""
    with whole(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n")


def through_json(value):
    """The value as it comes back from a file."""
    return json.loads(json.dumps(value))


def commit() -> str | None:
    """The code's commit, with a mark if it was changed since; None without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    quiet = {"text": True, "stderr": subprocess.DEVNULL}
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], **quiet)
        changed = subprocess.check_output([*git, "status", "--porcelain"], **quiet)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + (" with changes" if changed.strip() else "")


def _start(devices: Sequence[jax.Device]) -> dict:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv],
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "devices": [str(device) for device in devices],
        "device_kind": devices[0].device_kind,
    }


def _facts(clips: Clips, split: Split) -> dict:
    """What a report says of the clips."""
    counts = {name: dict.fromkeys(of, 0) for name, of in clips.classes.items()}
    names = list(clips.classes)
    for label, emotion in zip(clips.labels.tolist(), clips.emotions, strict=True):
        counts[names[label]][emotion] += 1
    return {
        "fingerprint": clips.fingerprint(),
        "clips": len(clips),
        "subjects": len(set(clips.subjects)),
        "classes": {name: list(of) for name, of in clips.classes.items()},
        "counts": counts,
        "left_out": clips.left_out,
        "lacking": [
            f"{job.name}: its training part has no clip of {', '.join(lacking)}"
            for job in splits.jobs(split)
            if (lacking := splits.lacking(job.fold, clips))
        ],
    }


def _settings(config: TrainConfig) -> dict:
    return dataclasses.asdict(config) | {"name": config.run_name}


def _differing(saved: dict, asked: dict) -> list[str]:
    """The settings on which results hang and that differ, in words."""
    asked = through_json(asked)
    return [
        f"{name} {saved.get(name)}, not {value}"
        for name, value in asked.items()
        if name not in ELSEWHERE and saved.get(name) != value
    ]
