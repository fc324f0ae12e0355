"""Names and paths of all files and folders of a run.

``docs/run-folder.md`` describes their content. Only ``training.checkpoint`` names more:
what is inside ``checkpoints/``, and ``damaged/`` next to it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from meranet_jax.config import TrainConfig
from meranet_jax.data.splits import Job
from meranet_jax.files import temporary_path
from meranet_jax.folder_names import folder_name

# Names of a run's figures, in the order of the report.
FIGURES = ("confusion", "spread", "subjects", "reliability", "curves")
# Names of the figures of a cross-data-set evaluation.
CROSS_FIGURES = ("confusion", "subjects", "reliability")


@dataclasses.dataclass(frozen=True)
class FoldLayout:
    """Paths in the folder of one fold.

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the process that writes the fold."""
        return self.path / ".lock"

    @property
    def metrics(self) -> Path:
        """Metrics of each epoch, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """Folder of the same metrics for TensorBoard."""
        return self.path / "events"

    @property
    def checkpoints(self) -> Path:
        """Folder of training states, until the fold is finished."""
        return self.path / "checkpoints"

    @property
    def damaged(self) -> Path:
        """Folder of checkpoints that could not be read, until the fold is finished."""
        return self.path / "damaged"

    @property
    def weights(self) -> Path:
        """Folder of the weights that were tested."""
        return self.path / "weights"

    @property
    def unfinished_weights(self) -> list[Path]:
        """Folders of weights whose writing was interrupted."""
        return list(self.path.glob(f"{self.weights.name}.*"))

    @property
    def summary(self) -> Path:
        """Seed, selection and sizes of the fold, JSON."""
        return self.path / "fold.json"

    @property
    def predictions(self) -> Path:
        """Predictions of the test part; written last, when the fold is finished."""
        return self.path / "predictions.csv"

    @property
    def diverged(self) -> Path:
        """Folder of the state and the batch that gave a loss that is not finite."""
        return self.path / "diverged"

    @property
    def diverged_state(self) -> Path:
        """Folder of that state."""
        return self.diverged / "state"

    @property
    def diverged_batch(self) -> Path:
        """Clips of that batch, JSON."""
        return self.diverged / "batch.json"


@dataclasses.dataclass(frozen=True)
class CrossLayout:
    """Paths in the folder of the evaluation of a run on another data set.

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def predictions(self) -> Path:
        """Predictions of each clip of the data set by each fold and seed of the run."""
        return self.path / "predictions.csv"

    @property
    def report(self) -> Path:
        """The report as JSON; written last."""
        return self.path / "report.json"

    @property
    def report_text(self) -> Path:
        """The report in Markdown."""
        return self.path / "report.md"

    @property
    def calibration(self) -> Path:
        """The calibration on the data set, JSON, if it was asked for."""
        return self.path / "calibration.json"

    def figure(self, name: str) -> Path:
        """Returns the PNG file of one of ``CROSS_FIGURES``; the SVG is next to it."""
        return self.path / f"{name}.png"


@dataclasses.dataclass(frozen=True)
class LowerRateLayout:
    """Paths in the folder of the evaluation of a run at a lower frame rate.

    Attributes:
      path: the folder.
    """

    path: Path

    def predictions(self, phase: int) -> Path:
        """Returns the predictions of the test clips at a phase of the sampling."""
        return self.path / f"predictions-phase{phase + 1}.csv"

    @property
    def report(self) -> Path:
        """The report as JSON; written last."""
        return self.path / "report.json"

    @property
    def report_text(self) -> Path:
        """The report in Markdown."""
        return self.path / "report.md"


@dataclasses.dataclass(frozen=True)
class RunLayout:
    """Paths in the folder of a run.

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the process that writes the run."""
        return self.path / ".lock"

    @property
    def config(self) -> Path:
        """Settings, records, counts of clips, and starts, JSON."""
        return self.path / "config.json"

    @property
    def split(self) -> Path:
        """Clips of each part of each fold, JSON."""
        return self.path / "split.json"

    @property
    def predictions(self) -> Path:
        """Predictions of all folds."""
        return self.path / "predictions.csv"

    @property
    def report(self) -> Path:
        """The report as JSON; written last, when the run is finished."""
        return self.path / "report.json"

    @property
    def report_text(self) -> Path:
        """The report in Markdown."""
        return self.path / "report.md"

    @property
    def calibration(self) -> Path:
        """How to read the probabilities of the run, JSON; see ``run_calibration``."""
        return self.path / "calibration.json"

    @property
    def saliency(self) -> Path:
        """Folder of saliency maps."""
        return self.path / "saliency"

    def cross(self, dataset: str) -> CrossLayout:
        """Returns the paths of the evaluation on another data set."""
        return CrossLayout(self.path / "cross" / folder_name(dataset))

    def lower_rate(self, rate: float) -> LowerRateLayout:
        """Returns the paths of the evaluation at a lower frame rate in Hz."""
        return LowerRateLayout(self.path / "lower_rate" / f"{rate:g}hz")

    @property
    def folds(self) -> Path:
        """Folder of the folders of all folds."""
        return self.path / "folds"

    def figure(self, name: str) -> Path:
        """Returns the PNG file of one of ``FIGURES``; the SVG file is next to it."""
        return self.path / f"{name}.png"

    def fold(self, job: Job) -> FoldLayout:
        """Returns the paths of a fold."""
        return FoldLayout(self.folds / fold_name(job))

    def find_folds(self, seed: int, number: int) -> list[FoldLayout]:
        """Returns the paths of existing folders of the fold ``number`` of a seed."""
        pattern = f"{_fold_prefix(seed, number)}*"
        return [FoldLayout(path) for path in self.folds.glob(pattern)]

    def all_folds(self) -> Sequence[FoldLayout]:
        """Returns the paths of all existing fold folders, sorted by name."""
        return [FoldLayout(path) for path in sorted(self.folds.glob("*"))]

    def first_files(self) -> set[str]:
        """Returns the names of files that may exist before ``config.json`` does."""
        parts = [temporary_path(path).name for path in (self.split, self.config)]
        return {self.lock.name, self.split.name, *parts}


def run_path(config: TrainConfig) -> Path:
    """Returns the run folder of a configuration; each shard of a run has its own."""
    name = config.run_name
    if config.shard is not None:
        part, parts = config.shard
        name += f"-shard{part + 1}of{parts}"
    return Path(config.runs_dir).expanduser() / name


def shards_pattern(config: TrainConfig) -> str:
    """Returns a shell pattern for the folders of all shards of a run."""
    return f"{Path(config.runs_dir).expanduser() / config.run_name}-shard*"


def fold_name(job: Job) -> str:
    """Returns the name of a fold's folder, which is unique in its run.

    Characters that not every file system allows are replaced; the number keeps names
    different nevertheless.
    """
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in job.fold.name)
    return f"{_fold_prefix(job.seed, job.number)}{plain}"


def seed_of_fold(name: str) -> int:
    """Returns the seed in the name of a fold's folder."""
    return int(name.partition("-")[0].removeprefix("seed"))


def _fold_prefix(seed: int, number: int) -> str:
    return f"seed{seed}-{number:03d}-"
