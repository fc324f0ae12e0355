"""The bar that a user watches while a run trains."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class EpochProgress:
    """A bar over all epochs with loss, accuracy, speed and time left.

    Where the output is no terminal (a log of a cluster's job), a line an epoch instead.
    """

    def __init__(self, console: Console, epochs: int, epoch_steps: int):
        self._console = console
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
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
            "", total=epochs * epoch_steps, epoch="", loss="", validation="", speed=""
        )

    def step(self, epoch: int, means: dict[str, float]) -> None:
        """A step is done; ``means`` are those of the epoch so far."""
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{epoch}/{self._epochs}",
            loss=f"{means['loss']:.3f}",
        )

    def epoch(self, line: dict[str, float]) -> None:
        """An epoch is done."""
        accuracy = f"{line['validation_accuracy']:.3f}"
        speed = f"{line['clips_per_second']:.1f}"
        self._bar.update(self._task, validation=accuracy, speed=speed)
        if not self._console.is_terminal:
            self._console.print(
                f"epoch {line['epoch']}/{self._epochs}  loss {line['train_loss']:.3f}  "
                f"accuracy {line['train_accuracy']:.3f}  validation loss "
                f"{line['validation_loss']:.3f} accuracy {accuracy}  {speed} clips/s",
                soft_wrap=True,
            )

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()
