"""The run folder: what was asked for, what happened, what came of it.

``config.json``, ``split.json``, ``metrics.jsonl`` (a line an epoch), ``events/`` for
TensorBoard, ``checkpoints/``, ``predictions.csv`` (a line a test clip),
``report.json``, ``curves.png``, ``confusion.png``.
"""

import contextlib
import csv
import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from tensorboardX import SummaryWriter

from meranet_jax import metrics
from meranet_jax.config import TrainConfig, make_model
from meranet_jax.data import Clips
from meranet_jax.errors import UserError
from meranet_jax.protocols import Fold

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# Okabe and Ito's blue and vermilion, which colour-blind readers can tell apart.
_TRAIN, _VALIDATION = "#0072B2", "#D55E00"


class RunFolder:
    """A run's folder while it is written; a context manager."""

    def __init__(
        self, config: TrainConfig, records: Path, devices: Sequence[jax.Device]
    ):
        """Makes the folder and writes ``config.json``.

        Raises:
          UserError: if there is a run of that name and it is not to be replaced.
        """
        self.path = free_path(config)
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        self._write_json(
            "config.json",
            {
                "config": dataclasses.asdict(config) | {"name": config.run_name},
                "records": str(records.absolute()),
                "command": [sys.executable, *sys.argv],
                "commit": _commit(),
                "python": platform.python_version(),
                "packages": {
                    name: importlib.metadata.version(name) for name in _PACKAGES
                },
                "devices": [str(device) for device in devices],
                "device_kind": devices[0].device_kind,
            },
        )
        self._events = SummaryWriter(str(self.path / "events"))
        self._lines: list[dict] = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._events.close()

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints are."""
        return self.path / "checkpoints"

    def write_split(self, split: dict[str, list[str]]) -> None:
        """Keep which clips train, validate and test, by id."""
        self._write_json("split.json", split)

    def log_epoch(self, line: dict[str, float]) -> None:
        """Add an epoch to ``metrics.jsonl``, the events and ``curves.png``."""
        self._lines.append(line)
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, line["step"])
        self._events.flush()
        with _whole(self.path / "curves.png") as part:
            draw_curves(self._lines, part)

    def write_results(
        self,
        clips: Clips,
        test: np.ndarray,
        probabilities: np.ndarray,
        best_epoch: int,
    ) -> dict:
        """Write the test part's predictions and the report, and return the report.

        Args:
          clips: all clips.
          test: indices of the test part [N].
          probabilities: [N, classes].
          best_epoch: whose checkpoint predicted them.
        """
        report = {
            "part": "test",
            "checkpoint": f"epoch {best_epoch}, best on the validation part",
            "best_epoch": best_epoch,
            "left_out": clips.left_out,
            **score(clips, test, probabilities),
        }
        header = ("clip", "subject", "fold", "truth", "prediction")
        with (
            _whole(self.path / "predictions.csv") as part,
            part.open("w", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow([*header, *(f"p_{name}" for name in clips.classes)])
            for index, row in zip(test, probabilities, strict=True):
                writer.writerow(
                    [
                        clips.clip_ids[index],
                        clips.subjects[index],
                        0,
                        clips.classes[clips.labels[index]],
                        clips.classes[row.argmax()],
                        *(repr(float(p)) for p in row),
                    ]
                )
        with _whole(self.path / "confusion.png") as part:
            draw_confusion(np.array(report["confusion"]), clips.classes, part)
        self._write_json("report.json", report)
        return report

    def _write_json(self, name: str, value) -> None:
        with _whole(self.path / name) as part:
            part.write_text(json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def _whole(path: Path):
    """A path to write to that becomes ``path`` when all is written, or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def free_path(config: TrainConfig) -> Path:
    """Where the run's folder goes.

    Raises:
      UserError: if something is there that is not a run, or not to be replaced.
    """
    path = Path(config.runs_dir).expanduser() / config.run_name
    if not path.exists():
        return path
    if not config.overwrite:
        raise UserError(
            f"There is a run in {path}. Choose another --name, or replace it with "
            "--overwrite."
        )
    try:
        is_run = {"config", "records"} <= json.loads(
            (path / "config.json").read_text()
        ).keys()
    except (OSError, ValueError, AttributeError):
        is_run = False
    if not is_run:
        raise UserError(
            f"{path} is not the folder of a run, so --overwrite does not replace it. "
            "Choose another --name."
        )
    return path


def score(clips: Clips, indices: np.ndarray, probabilities: np.ndarray) -> dict:
    """The metrics of predictions [N, classes] on the clips at ``indices`` [N]."""
    confusion = metrics.confusion_matrix(
        clips.labels[indices], probabilities.argmax(-1), len(clips.classes)
    )
    return metrics.scores(confusion, clips.classes)


def read_run(path: Path) -> tuple[TrainConfig, Path, dict, dict]:
    """A finished run: its configuration, records, split and report.

    Raises:
      UserError: if the folder is not that of a finished run.
    """
    if not path.is_dir():
        raise UserError(f"--run={path} is not a folder.")
    contents = []
    for name in ("config.json", "split.json", "report.json"):
        try:
            contents.append(json.loads((path / name).read_text()))
        except FileNotFoundError as error:
            raise UserError(
                f"{path} has no {name}: it is not the folder of a finished run."
            ) from error
        except ValueError as error:
            raise UserError(f"{path / name} cannot be read: {error}") from error
    saved, split, report = contents
    try:
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in saved["config"].items()
        }
        config, records = TrainConfig(**values), Path(saved["records"])
        make_model(config)
        assert set(split) == {"train", "validation", "test"}
        assert all(isinstance(clip, str) for part in split.values() for clip in part)
        assert isinstance(report["best_epoch"], int) and report["by_class"]
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise UserError(
            f"config.json, split.json or report.json in {path} is not one that this "
            f"version writes ({type(error).__name__}: {error})."
        ) from error
    return config, records, split, report


def read_predictions(path: Path, clips: Clips) -> dict[str, np.ndarray]:
    """The probabilities by clip id that a run's ``predictions.csv`` holds.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        with (path / "predictions.csv").open(newline="") as file:
            return {
                row["clip"]: np.array([float(row[f"p_{c}"]) for c in clips.classes])
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path / 'predictions.csv'} cannot be read: {error}"
        ) from error


def describe_run(
    config: TrainConfig, clips: Clips, fold: Fold, devices: Sequence[jax.Device]
) -> str:
    """What is about to be trained, on what, in words."""
    model = "MERANet" if config.attention else "3D ResNet"
    counts = np.bincount(clips.labels, minlength=len(clips.classes))
    classes = ", ".join(
        f"{name} {count}" for name, count in zip(clips.classes, counts, strict=True)
    )
    lines = [
        f"{model}, preset {config.preset}, on {len(devices)} x "
        f"{devices[0].device_kind}",
        f"{config.dataset}: {len(clips)} clips of {len(set(clips.subjects))} subjects "
        f"({classes})",
        f"train {len(fold.train)}, validation {len(fold.validation)}, "
        f"test {len(fold.test)} clips; not subject-disjoint",
    ]
    lines += [f"left out: {n} clips ({why})" for why, n in clips.left_out.items()]
    return "\n".join(lines)


def describe_duration(config: TrainConfig, epoch_seconds: float) -> str:
    """How long the run will take where there is no accelerator, and what to do."""
    hours = config.epochs * epoch_seconds / 3600
    return (
        f"An epoch will take about {epoch_seconds / 60:.1f} minutes on this CPU, all "
        f"{config.epochs} about {hours:.1f} hours. --preset=small is made for machines "
        "without an accelerator."
    )


def describe(report: dict) -> str:
    """The report's numbers in words, each with the clips behind it."""
    low, high = report["accuracy_interval"]
    lines = [
        f"accuracy {report['accuracy']:.3f}  ({report['correct']} of {report['clips']} "
        f"clips; 95 % interval {low:.3f} to {high:.3f})",
        f"UF1      {report['uf1']:.3f}",
        f"UAR      {report['uar']:.3f}",
    ]
    width = max(map(len, report["by_class"]))
    for name, row in report["by_class"].items():
        recall = "no clip" if row["recall"] is None else f"recall {row['recall']:.3f}"
        lines.append(f"  {name:{width}}  {recall}  ({row['clips']} clips)")
    return "\n".join(lines)


def draw_curves(lines: list[dict], path: Path) -> None:
    """Loss and accuracy over epochs, of the training and the validation part."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [line["epoch"] for line in lines]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, colour in (("train", _TRAIN), ("validation", _VALIDATION)):
            values = [line[f"{part}_{name}"] for line in lines]
            axes.plot(epochs, values, ".-", color=colour, label=part)
        axes.set(xlabel="epoch", ylabel="cross entropy" if name == "loss" else name)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if name == "accuracy":
            axes.set_ylim(-0.02, 1.02)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150, format="png")


def draw_confusion(confusion: np.ndarray, classes: tuple[str, ...], path: Path) -> None:
    """Counts in the cells, shares of the row as their shade."""
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = 2.2 + 0.9 * len(classes)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*confusion.shape):
        axes.text(
            column,
            row,
            f"{confusion[row, column]}\n{shares[row, column]:.0%}",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=30, ha="right")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="prediction", ylabel="truth", title=f"{confusion.sum()} test clips")
    figure.colorbar(image, label="share of the row", shrink=0.8)
    figure.savefig(path, dpi=150, format="png")


def _commit() -> str | None:
    """The code's commit, with a mark if it was changed since; None without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    quiet = {"text": True, "stderr": subprocess.DEVNULL}
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], **quiet)
        changed = subprocess.check_output([*git, "status", "--porcelain"], **quiet)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + (" with changes" if changed.strip() else "")
