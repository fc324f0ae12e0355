"""Writes the folder of a run; see ``layout`` for its files."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import filelock
import jax

from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.data.clips import Clips
from meranet_jax.data.splits import Job, Split
from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.files import atomic_write, json_round_trip, write_json
from meranet_jax.flags import read_flags, saved_tables
from meranet_jax.runs import fold_writer, provenance
from meranet_jax.runs.fold_writer import FoldFolder, ReadOnlyFoldFolder
from meranet_jax.runs.layout import RunLayout
from meranet_jax.runs.origins import InitialWeights
from meranet_jax.runs.reader import NOT_RESULT_SETTINGS, read_fold_predictions
from meranet_jax.training import distributed

# Seconds until all processes see a file that one has written to a network file system.
_VISIBILITY_TIMEOUT = 30


def check_free(
    config: TrainConfig,
    path: Path,
    initial: InitialWeights | None = None,
    *,
    other: str = "another --name",
    replace: str = "replace it with --overwrite",
) -> None:
    """Checks that a run can be written to a folder.

    Args:
      config: the settings of the run.
      path: the run folder.
      initial: the weights that the run starts from, if any.
      other: what to choose for another folder, for messages.
      replace: how the run is replaced, for messages.

    Raises:
      UserError: unless ``path`` is free, can be resumed with these settings, or is a
        run that ``--overwrite`` replaces.
    """
    if not path.exists():
        return
    layout = RunLayout(path)
    if {child.name for child in path.iterdir()} <= layout.first_files():
        return  # a start was killed before it had written anything else
    try:
        saved = json.loads(layout.config.read_text())
        is_run = "records" in saved and isinstance(saved["config"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        is_run = False
    if not is_run:
        raise UserError(
            f"{path} is not a run folder"
            + (", so --overwrite does not replace it" if config.overwrite else "")
            + f". Choose {other}."
        )
    if config.overwrite:
        return
    differing = _differing(saved["config"], _settings(config))
    before = saved.get("origin")
    if (before and before.get("digest")) != (initial and initial.digest):
        names = [saved["config"].get("init"), config.init]
        text = "init {}, not {}" if names[0] != names[1] else "other weights in {}"
        differing.append(text.format(*names))
    if differing:
        raise UserError(
            f"{path} is a run with other settings: {'; '.join(differing)}. Choose "
            f"{other}, or {replace}."
        )
    data = saved.get("data")
    flow = data.get("flow") if isinstance(data, dict) else None
    if changes := provenance.flow_differences(flow, provenance.describe_flow(config)):
        raise UserError(
            f"Cannot resume the run in {path}: its optical flow was computed with "
            f"{'; '.join(changes)}. Use the version of the library and of the code "
            f"that {layout.config.name} lists, choose {other}, or {replace}."
        )


class RunFolder:
    """The folder of a run that is being written; a context manager.

    Only one start at a time writes to it. If several processes train the run, the first
    creates the folder, and each writes the folders of its folds.

    Attributes:
      path: the run folder.
      layout: the paths in it.
      finished: the predictions of folds that ``is_finished`` has read, by the path of
        the fold's folder.
    """

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        clips: Clips,
        split: Split,
        records: Sequence[Path],
        initial: InitialWeights | None = None,
    ):
        """Creates the folder, or opens that of an earlier start.

        Args:
          path: the run folder.
          config: the settings of the run.
          clips: all clips.
          split: the folds of each seed.
          records: the folder of records of each data set.
          initial: the weights that the run starts from, if any.

        Raises:
          UserError: if ``path`` is another run or no run, its clips differ, another
            process writes to it, or this process does not see the folder that the
            first process has created.
        """
        self.path = path
        self.layout = RunLayout(path)
        self._config = config
        self.finished: dict[Path, Predictions] = {}
        self._lock = None
        if not distributed.is_first():
            if not _appears(self.layout.config):
                raise UserError(
                    f"Process {distributed.process_index()} does not see {path}, "
                    "which the first process has created. Set --runs_dir to a folder "
                    "that all processes share."
                )
            return
        check_free(config, path, initial)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(self.layout.lock)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UserError(
                f"Another process is training the run in {path}. Wait until it has "
                "finished, and start the same command again, which keeps what is "
                "finished. Or choose another --runs_dir."
            ) from error
        try:
            self._begin(config, clips, split, records, initial)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, config, clips, split, records, initial):
        layout = self.layout
        if config.overwrite:
            # config.json is deleted last: it marks the folder as a run.
            for child in sorted(self.path.iterdir(), key=lambda p: p == layout.config):
                if child.is_dir():
                    shutil.rmtree(child)
                elif child != layout.lock:
                    child.unlink()
        for job in splits.jobs(split):
            if self.is_finished(job, clips):
                # The start that finished the fold may have been killed before this.
                fold_writer.remove_temporary(layout.fold(job))
        self._saved = {
            "config": _settings(config),
            "records": [str(folder.absolute()) for folder in records],
            "data": _describe_data(config, clips, split),
        }
        if initial is not None:
            self._saved["origin"] = initial.description
        text = splits.to_json(split, clips, config.protocol)
        self._saved["starts"] = self._starts(text, clips)
        with atomic_write(layout.split) as part:
            part.write_text(text)
        write_json(layout.config, self._saved)

    def log_start(
        self, devices: Sequence[jax.Device], threads: int | None = None
    ) -> None:
        """Adds this start to ``config.json``; called by the first process.

        Args:
          devices: the devices of this process.
          threads: number of threads of a convolution on a CPU; None for the default.
        """
        start = provenance.start(devices, self._config, threads)
        self._saved["starts"].append(start)
        write_json(self.layout.config, self._saved)

    def _starts(self, split: str, clips: Clips) -> list[dict]:
        """Returns the earlier starts.

        Raises:
          UserError: if they had other clips, classes or folds.
        """
        if not self.layout.config.exists():
            return []
        saved = json.loads(self.layout.config.read_text())
        before, now = saved.get("data", {}), json_round_trip(self._saved["data"])
        # Older versions did not save them.
        added = {"first_as_onset": False, "megc2019": {}}
        if "flow" in now:
            added["flow"] = now["flow"]
        # Records of earlier versions do not give frame rates, so that these may become
        # known. The clips are compared by their fingerprint.
        before = added | before | {"frame_rates": now["frame_rates"]}
        if clips.has_fingerprint(before.get("fingerprint")):
            # An older version may have saved a fingerprint of another form.
            before = before | {"fingerprint": now["fingerprint"]}
        if before.get("classes") != now["classes"]:
            reason = "it had other classes"
        elif before != now:
            reason = "it had other records"
        elif self.layout.split.read_text() != split:
            reason = f"its settings no longer give its {self.layout.split.name}"
        else:
            return saved["starts"]
        raise UserError(
            f"Cannot resume the run in {self.path}: {reason}. Choose another --name, "
            "or replace it with --overwrite."
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._lock is not None:
            self._lock.release()

    def is_finished(self, job: Job, clips: Clips) -> bool:
        """Returns whether a fold has been trained and tested.

        The predictions of a finished fold are read once.
        """
        fold = self.layout.fold(job)
        if fold.path not in self.finished:
            ids = [clips.clip_ids[index] for index in job.fold.test]
            if (predicted := read_fold_predictions(fold, ids)) is not None:
                self.finished[fold.path] = predicted
        return fold.path in self.finished

    def fold(self, job: Job, *, writable: bool = True) -> FoldFolder:
        """Opens the folder of a fold, which may contain work of an earlier start.

        Args:
          job: the fold.
          writable: whether this process writes the fold; otherwise another does.

        Raises:
          UserError: see ``FoldFolder``.
        """
        layout = self.layout.fold(job)
        return FoldFolder(layout, job) if writable else ReadOnlyFoldFolder(layout)


def _appears(path: Path) -> bool:
    """Waits for a file that another process has written; returns whether it exists.

    A network file system may show it late.
    """
    end = time.monotonic() + _VISIBILITY_TIMEOUT
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def describe_clips(clips: Clips) -> dict:
    """Returns fingerprint, classes and counts of clips, JSON-serialisable."""
    counts = {
        name: dict.fromkeys(emotions, 0) for name, emotions in clips.classes.items()
    }
    names = list(clips.classes)
    for label, emotion in zip(clips.labels.tolist(), clips.emotions, strict=True):
        counts[names[label]][emotion] += 1
    return {
        "fingerprint": clips.fingerprint(),
        "clips": len(clips),
        "subjects": len(set(clips.subjects)),
        "classes": {name: list(emotions) for name, emotions in clips.classes.items()},
        "counts": counts,
        "left_out": clips.left_out,
        "first_as_onset": clips.first_as_onset,
        "frame_rates": clips.frame_rates,
        "megc2019": clips.megc2019,
    }


def _describe_data(config: TrainConfig, clips: Clips, split: Split) -> dict:
    """Returns ``data`` of ``config.json``: classes, counts, flow, notes on clips."""
    described = describe_clips(clips)
    if (flow := provenance.describe_flow(config)) is not None:
        described["flow"] = flow
    described["lacking"] = [
        f"{job.name}: its training part has no clip of {', '.join(missing)}"
        for job in splits.jobs(split)
        if (missing := splits.missing_classes(job.fold, clips))
    ]
    return described


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
    """Converts saved settings of an older version to those of this version.

    New settings get the value that corresponds to the older version's behaviour, or
    their default.
    """
    saved = saved | {"table": saved_tables(saved.get("table"))}
    if "model" in saved and "precision" in saved:
        return saved
    try:
        return read_flags({"precision": "fp32"} | saved).flags()
    except (TypeError, ValueError, UserError):
        return saved
