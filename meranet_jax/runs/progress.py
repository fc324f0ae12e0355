"""The bar that a user watches while a run trains."""

import contextlib
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from meranet_jax.data.splits import Job
from meranet_jax.runs.fold_loop import Watcher


class RunProgress(Watcher):
    """A bar over all folds and epochs with loss, accuracy, speed and time left.

    Where the output is no terminal (a log of a cluster's job), a line an epoch instead.
    """

    def __init__(self, console: Console, epochs: int, *, steps: int, folds: int):
        """Shows nothing yet.

        Args:
          console: where.
          epochs: of each fold.
          steps: of the whole run, those of folds side by side counted once.
          folds: how many there are in all.
        """
        self._console = console
        self._epochs = epochs
        self._folds = folds
        self._steps = steps
        self._bar = Progress(
            TextColumn("{task.fields[where]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("validation {task.fields[validation]}"),
            TextColumn("{task.fields[speed]} clips/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=120,
        )
        self._task = self._bar.add_task(
            "", total=steps, where="", loss="", validation="", speed=""
        )

    def step(
        self,
        jobs: Sequence[Job],
        epoch: int,
        steps: int,
        means: dict[str, float] | None,
    ) -> None:
        """So many steps more are done; ``means`` are those of the epoch so far."""
        self._bar.update(
            self._task,
            advance=steps,
            where=f"{self._of(jobs)}epoch {epoch}/{self._epochs}",
            loss="" if means is None else f"{means['loss']:.3f}",
        )

    def skip(self, steps: int) -> None:
        """So many steps are not to be done, since an earlier start did them."""
        self._steps -= steps
        self._bar.update(self._task, total=self._steps)

    def tell(self, text: str) -> None:
        """Above the bar."""
        with contextlib.suppress(OSError):  # nobody may be reading any more
            self._console.print(text, soft_wrap=True)

    def epoch(self, job: Job, line: dict[str, float]) -> None:
        """An epoch of a fold is done."""
        accuracy = f"{line['validation_accuracy']:.3f}"
        speed = f"{line['clips_per_second']:.1f}"
        self._bar.update(self._task, validation=accuracy, speed=speed)
        if not self._console.is_terminal:
            self.tell(
                f"{self._of([job])}epoch {line['epoch']}/{self._epochs}  "
                f"loss {line['train_loss']:.3f}  "
                f"accuracy {line['train_accuracy']:.3f}  validation loss "
                f"{line['validation_loss']:.3f} accuracy {accuracy}  {speed} clips/s"
            )

    def _of(self, jobs: Sequence[Job]) -> str:
        """Which folds, if there are several."""
        if self._folds == 1:
            return ""
        return f"{', '.join(job.name for job in jobs)}: "

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()
