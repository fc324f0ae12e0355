"""The run folder: what was asked for, what happened, what came of it.

``config.json``, ``split.json``; ``folds/``, a folder for each fold and seed with
``metrics.jsonl`` (a line an epoch), ``events/`` for TensorBoard, ``checkpoints/`` while
it trains, then ``weights/`` of the chosen one, ``fold.json`` and ``predictions.csv``.
When all are finished, over all: ``predictions.csv``, ``report.json``, ``report.md``
and the pictures.
"""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import filelock
import jax

from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.data.loading import Clips
from meranet_jax.data.splits import Job, Split
from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.files import atomic_write, json_round_trip, write_json
from meranet_jax.flags import read_flags
from meranet_jax.runs import fold_writer, provenance
from meranet_jax.runs.fold_writer import Elsewhere, FoldFolder
from meranet_jax.runs.reader import NOT_RESULT_SETTINGS, read_fold
from meranet_jax.training import distributed

# Seconds after which what one process has written is seen by all.
_LATE = 30

# What a run's folder holds before there is a config.json.
_FIRST = {".lock", "split.json", ".split.json.part", ".config.json.part"}


def check_free(config: TrainConfig, path: Path) -> None:
    """Raises UserError if there is something that is not this run and must not go."""
    if not path.exists():
        return
    if {child.name for child in path.iterdir()} <= _FIRST:
        return  # of a start that was killed before it had written anything else
    try:
        saved = json.loads((path / "config.json").read_text())
        is_run = "records" in saved and isinstance(saved["config"], dict)
    except (OSError, ValueError, KeyError, TypeError):
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

    Only one run at a time writes to it. Of several processes that train it together the
    first makes it, and each writes the folders of its folds.

    Attributes:
      path: of the folder.
      finished: the predictions of folds that ``is_finished`` has read, by the fold's
        folder.
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
            process writes to it; or the first process made it elsewhere.
        """
        self.path = path
        self.finished: dict[Path, Predictions] = {}
        self._lock = None
        if not distributed.is_first():
            if not _appears(path / "config.json"):
                raise UserError(
                    f"Process {distributed.process_index()} does not see {path}, which "
                    "the first has made. Give a folder that all of them share with "
                    "--runs_dir."
                )
            return
        check_free(config, path)
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
        for job in splits.jobs(split):
            if self.is_finished(job, clips):
                # By a start that was killed before it could.
                fold_writer.tidy(path / "folds" / job.folder)
        self._saved = {
            "config": _settings(config),
            "records": [str(folder.absolute()) for folder in records],
            "data": _facts(clips, split),
        }
        text = splits.to_json(split, clips, config.protocol)
        self._saved["starts"] = self._starts(text, clips)
        with atomic_write(path / "split.json") as part:
            part.write_text(text)
        write_json(path / "config.json", self._saved)

    def log_start(self, devices: Sequence[jax.Device]) -> None:
        """Note when, how and on what the run is started, or goes on.

        Of several processes the first notes it for all, with its own devices.
        """
        self._saved["starts"].append(provenance.start(devices))
        write_json(self.path / "config.json", self._saved)

    def _starts(self, split: str, clips: Clips) -> list[dict]:
        """The starts before this one.

        Raises:
          UserError: if they were on other clips.
        """
        if not (self.path / "config.json").exists():
            return []
        saved = json.loads((self.path / "config.json").read_text())
        before, now = saved.get("data", {}), json_round_trip(self._saved["data"])
        if clips.has_fingerprint(before.get("fingerprint")):
            # An older version may have saved one of another form.
            before = before | {"fingerprint": now["fingerprint"]}
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
        if self._lock is not None:
            self._lock.release()

    def is_finished(self, job: Job, clips: Clips) -> bool:
        """Returns whether a fold is trained and tested.

        The predictions of a finished fold are read once.
        """
        path = self.path / "folds" / job.folder
        if path not in self.finished:
            ids = [clips.clip_ids[index] for index in job.fold.test]
            if (tested := read_fold(path, ids)) is not None:
                self.finished[path] = tested
        return path in self.finished

    def fold(self, job: Job, *, written: bool = True) -> "FoldFolder":
        """A fold's folder, with what a start before this one left of it.

        ``written``: by this process; else nothing is changed there.
        """
        kind = FoldFolder if written else Elsewhere
        return kind(self.path / "folds" / job.folder, job)


def _appears(path: Path) -> bool:
    """Whether a file that another process has written is there, or soon is.

    A file system over a network may show it late.
    """
    end = time.monotonic() + _LATE
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


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
            if (lacking := splits.missing_classes(job.fold, clips))
        ],
    }


def _settings(config: TrainConfig) -> dict:
    return config.flags() | {"name": config.run_name}


def _differing(saved: dict, asked: dict) -> list[str]:
    """Describes the settings that determine results and differ."""
    asked = json_round_trip(asked)
    saved = json_round_trip(_settings_of_saved(saved))
    return [
        f"{name} {saved.get(name)}, not {asked.get(name)}"
        for name in {**asked, **saved}
        if name not in NOT_RESULT_SETTINGS and saved.get(name) != asked.get(name)
    ]


def _settings_of_saved(saved: dict) -> dict:
    """Returns the saved settings as this version has them.

    Settings that an older version did not have are as it behaved, or have their
    defaults.
    """
    if "model" in saved and "precision" in saved:
        return saved
    try:
        return read_flags({"precision": "fp32"} | saved).flags()
    except (TypeError, ValueError, UserError):
        return saved
