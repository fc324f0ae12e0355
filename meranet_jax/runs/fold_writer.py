"""Writes the folder of one fold of a run."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.files import atomic_write, write_json
from meranet_jax.runs import provenance
from meranet_jax.runs.layout import FoldLayout
from meranet_jax.runs.subjects import Subjects
from meranet_jax.training import checkpoint
from meranet_jax.training.trainers import Weights

# Seconds to wait for another process to release a fold. A process that has lost the
# first process of its run ends within half of this time.
_LOCK_TIMEOUT = 60


class FoldFolder:
    """The folder of a fold that this process writes; a context manager.

    Only one process at a time writes to it.

    Attributes:
      layout: the paths in the folder.
      writable: whether this process writes to it.
    """

    writable = True

    def __init__(self, layout: FoldLayout, job: Job):
        """Creates or opens the folder, and locks it.

        An existing file of predictions is deleted, since it was found to be damaged.

        Args:
          layout: the paths in the folder.
          job: the fold.

        Raises:
          UserError: if another process still writes to it after a minute, or has
            finished the fold meanwhile.
        """
        self._job = job
        self.layout = layout
        layout.path.mkdir(parents=True, exist_ok=True)
        existed = layout.predictions.exists()
        self._lock = filelock.FileLock(layout.lock)
        try:
            self._lock.acquire(timeout=_LOCK_TIMEOUT)
        except filelock.Timeout as error:
            raise UserError(
                f"Another process is training {job.name} in {layout.path}; it may "
                "remain from an earlier start. Stop it, or wait until it ends."
            ) from error
        if not existed and layout.predictions.exists():
            self._lock.release()
            raise UserError(
                f"Another process has finished {job.name} meanwhile. Start the command "
                "again."
            )
        layout.predictions.unlink(missing_ok=True)
        self._events = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.release()

    def start_log(self, lines: Sequence[dict[str, float]]) -> None:
        """Rewrites the metrics with those of the epochs that are finished.

        A start that was killed may have written more epochs than its last checkpoint
        contains, or an incomplete line.

        Args:
          lines: the metrics of each finished epoch.
        """
        with atomic_write(self.layout.metrics) as part:
            part.write_text("".join(map(_to_json_line, lines)))
        shutil.rmtree(self.layout.events, ignore_errors=True)
        self._events = _Events(self.layout.events)
        for line in lines:
            self._add_events(line)
        shutil.rmtree(self.layout.diverged, ignore_errors=True)

    def log_epoch(self, line: dict[str, float]) -> None:
        """Appends the metrics of an epoch to ``metrics.jsonl`` and to the events.

        Raises:
          UserError: if the file no longer exists.
        """
        if not self.layout.metrics.exists():
            raise UserError(
                f"{self.layout.metrics} was removed while the run was training. Start "
                "the command again after restoring its folder, or from the beginning."
            )
        with self.layout.metrics.open("a") as file:
            file.write(_to_json_line(line))
        self._add_events(line)

    def _add_events(self, line: dict[str, float]) -> None:
        values = {n: v for n, v in line.items() if n not in ("epoch", "step")}
        self._events.add(int(line["step"]), values)

    def save_divergence(self, where: str, clip_ids: Sequence[str], state) -> Path:
        """Saves the state and the clips that gave a loss that is not finite.

        Args:
          where: the step, for people.
          clip_ids: the clips of the batch.
          state: the training state before the step.

        Returns:
          The folder with both.
        """
        checkpoint.save_weights(self.layout.diverged_state, state)
        batch = {"where": where, "clips": list(clip_ids)}
        write_json(self.layout.diverged_batch, batch)
        return self.layout.diverged

    def finish(
        self,
        weights: Weights,
        predicted: Predictions,
        details: Mapping[str, Any],
        trained_on: Subjects,
    ) -> None:
        """Saves the selected weights and their predictions; the fold is then finished.

        Args:
          weights: the selected weights. All checkpoints are removed.
          predicted: the predictions of the test part.
          details: how the weights were selected.
          trained_on: the subjects of the training and the validation part.
        """
        checkpoint.save_weights(self.layout.weights, weights)
        write_json(
            self.layout.summary,
            {
                "seed": self._job.seed,
                "fold": self._job.fold.name,
                **details,
                **{name: len(part) for name, part in self._job.fold.parts.items()},
                "trained_on": trained_on,
                "commit": provenance.commit(),
            },
        )
        # Written last: this file marks the fold as finished.
        with atomic_write(self.layout.predictions) as part:
            predictions.write(predicted, part)
        remove_temporary(self.layout)


class _Events:
    """Writes scalars for TensorBoard."""

    def __init__(self, folder: Path):
        """Starts a file in a folder."""
        # Imported here, since most starts of the programs write no events.
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._file = EventFileWriter(str(folder))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values by name."""
        scalars = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in values.items()
        ]
        summary = self._summary(value=scalars)
        self._file.add_event(
            self._event(wall_time=time.time(), step=step, summary=summary)
        )
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ReadOnlyFoldFolder(FoldFolder):
    """The folder of a fold that another process writes: this one changes nothing."""

    writable = False

    def __init__(self, layout: FoldLayout):
        self.layout = layout
        self._lock = self._events = None

    def start_log(self, lines) -> None:
        pass

    def log_epoch(self, line) -> None:
        pass

    def save_divergence(self, where, clip_ids, state) -> Path:
        return self.layout.diverged

    def finish(self, weights, predicted, details, trained_on) -> None:
        pass


def remove_temporary(fold: FoldLayout) -> None:
    """Removes what a finished fold no longer needs."""
    for folder in (fold.checkpoints, fold.damaged, *fold.unfinished_weights):
        shutil.rmtree(folder, ignore_errors=True)


def _to_json_line(values: dict[str, float]) -> str:
    return json.dumps(values) + "\n"
