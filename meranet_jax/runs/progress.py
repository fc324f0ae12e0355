"""Progress bar of a run that is training."""

import contextlib
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from meranet_jax.data.splits import Job
from meranet_jax.runs.fold_loop import RunObserver


class RunProgress(RunObserver):
    """Shows a bar over all folds and epochs with loss, accuracy, speed and time left.

    If the output is not a terminal, such as the log of a cluster's job, it prints a
    line for each epoch instead.
    """

    def __init__(self, console: Console, epochs: int, *, steps: int, folds: int):
        """Makes the bar; it is shown inside the context.

        Args:
          console: where to print.
          epochs: number of epochs of each fold.
          steps: number of steps of this process; those of folds that train side by side
            count once.
          folds: number of folds of the complete run.
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
            "", total=steps, where="starting", loss="", validation="", speed=""
        )

    def step(
        self,
        jobs: Sequence[Job],
        epoch: int,
        steps: int,
        means: dict[str, float] | None,
    ) -> None:
        if means is None:  # a recogniser without epochs
            self._bar.update(self._task, advance=steps, where="")
            return
        self._bar.update(
            self._task,
            advance=steps,
            where=f"{self._fold_names(jobs)}epoch {epoch}/{self._epochs}",
            loss=f"{means['loss']:.3f}",
        )

    def skip(self, steps: int) -> None:
        self._steps -= steps
        self._bar.update(self._task, total=self._steps)

    def message(self, text: str) -> None:
        """Prints a message above the bar."""
        with contextlib.suppress(OSError):  # the terminal may be closed
            self._console.print(text, soft_wrap=True)

    def epoch(self, job: Job, line: dict[str, float]) -> None:
        accuracy = f"{line['validation_accuracy']:.3f}"
        speed = f"{line['clips_per_second']:.1f}"
        self._bar.update(self._task, validation=accuracy, speed=speed)
        if not self._console.is_terminal:
            self.message(
                f"{self._fold_names([job])}epoch {line['epoch']}/{self._epochs}  "
                f"loss {line['train_loss']:.3f}  "
                f"accuracy {line['train_accuracy']:.3f}  validation loss "
                f"{line['validation_loss']:.3f} accuracy {accuracy}  {speed} clips/s"
            )

    def _fold_names(self, jobs: Sequence[Job]) -> str:
        """Returns a prefix that names the folds, if the run has several."""
        if self._folds == 1:
            return ""
        return f"{', '.join(job.name for job in jobs)}: "

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()
