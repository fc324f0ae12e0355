"""A fold's folder in a run's, while it is written."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
from tensorboardX import SummaryWriter

from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.files import atomic_write, write_json
from meranet_jax.runs import provenance
from meranet_jax.training import checkpoint
from meranet_jax.training.trainers import Weights

# Seconds to wait for another process to leave a fold. One that has lost the first of
# its run ends within half of them.
_PATIENCE = 60


class FoldFolder:
    """A fold's folder while it is written; a context manager.

    Only one process at a time writes to it.

    Attributes:
      path: of the folder.
      checkpoints: of the states of a fold that is not finished.
      written: whether this process writes it.
    """

    written = True

    def __init__(self, path: Path, job: Job):
        """Makes it unless it is there; a prediction that is there was damaged.

        Raises:
          UserError: if another process writes to it, also after a minute, or has
            finished it meanwhile.
        """
        self._job = job
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        known = (path / "predictions.csv").exists()
        self._lock = filelock.FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout as error:
            raise UserError(
                f"Another process is training {job.name} in {path}, perhaps one that "
                "an earlier start has left behind. Stop it, or wait for its end."
            ) from error
        if not known and (path / "predictions.csv").exists():
            self._lock.release()
            raise UserError(
                f"Another process has finished {job.name} meanwhile. Start again."
            )
        (path / "predictions.csv").unlink(missing_ok=True)
        self.checkpoints = path / "checkpoints"
        self._events = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.release()

    def begin(self, lines: Sequence[dict[str, float]]) -> None:
        """Start the log anew, with the lines of the epochs that are done already.

        A start that was killed may have told more, or half of a line.
        """
        with atomic_write(self._log) as part:
            part.write_text("".join(map(_as_line, lines)))
        events = self.path / "events"
        shutil.rmtree(events, ignore_errors=True)
        self._events = SummaryWriter(str(events))
        for line in lines:
            self._add_events(line)
        shutil.rmtree(self._diverged, ignore_errors=True)

    def log_epoch(self, line: dict[str, float]) -> None:
        """Add an epoch to ``metrics.jsonl`` and the events.

        Raises:
          UserError: if the folder is not there any more.
        """
        if not self._log.exists():
            raise UserError(
                f"{self._log} has vanished while the run was training. Start it again "
                "when its folder is back, or from the beginning."
            )
        with self._log.open("a") as file:
            file.write(_as_line(line))
        self._add_events(line)

    def _add_events(self, line: dict[str, float]) -> None:
        for name, value in line.items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, line["step"])
        self._events.flush()

    @property
    def _log(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def _diverged(self) -> Path:
        return self.path / "diverged"

    def keep_divergence(self, where: str, clips: Sequence[str], state) -> Path:
        """Keep what a loss that is not finite came of; returns the folder.

        Args:
          where: in which step.
          clips: the ids of its batch.
          state: before it.
        """
        checkpoint.save_weights(self._diverged / "state", state)
        told = {"where": where, "clips": list(clips)}
        write_json(self._diverged / "batch.json", told)
        return self._diverged

    def finish(
        self, weights: Weights, tested: Predictions, details: Mapping[str, Any]
    ) -> None:
        """Keep what was chosen and what it predicts; then the fold is finished.

        Args:
          weights: of the chosen checkpoint; the others are removed.
          tested: the test part's predictions.
          details: how the weights were selected.
        """
        checkpoint.save_weights(self.path / "weights", weights)
        write_json(
            self.path / "fold.json",
            {
                "seed": self._job.seed,
                "fold": self._job.fold.name,
                **details,
                **{name: len(part) for name, part in self._job.fold.parts.items()},
                "commit": provenance.commit(),
            },
        )
        # It says that the fold is finished.
        with atomic_write(self.path / "predictions.csv") as part:
            predictions.write(tested, part)
        tidy(self.path)


class Elsewhere(FoldFolder):
    """One that another process writes."""

    written = False

    def __init__(self, path: Path, job: Job):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._lock = self._events = None

    def begin(self, lines) -> None:
        pass

    def log_epoch(self, line) -> None:
        pass

    def keep_divergence(self, where, clips, state) -> Path:
        return self._diverged

    def finish(self, weights, tested, details) -> None:
        pass


def tidy(fold: Path) -> None:
    """Remove what a finished fold does not need any more."""
    killed = fold.glob("weights.*")  # half of them, of a start that was killed
    for folder in (fold / "checkpoints", fold / "damaged", *killed):
        shutil.rmtree(folder, ignore_errors=True)


def _as_line(values: dict[str, float]) -> str:
    return json.dumps(values) + "\n"
