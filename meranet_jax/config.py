"""One frozen configuration, and the paper's recipe for each data set."""

import dataclasses
import typing
from typing import Literal

from meranet_jax.attention import SharedNetwork
from meranet_jax.errors import UserError
from meranet_jax.model import MERANet, Shortcut

Preset = Literal["paper", "small"]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on; it is saved with the run.

    The defaults are the paper's (section 4); ``default_config`` sets those that differ
    between data sets and presets.
    """

    dataset: str = "synthetic"
    """synthetic, casme, casme2 or cas_me_2; a configuration of it after a slash:
    synthetic/hard."""
    preset: Preset = "paper"
    """paper: the full network. small: for machines without an accelerator."""
    manual_dir: str | None = None
    """Folder of your copy of a licensed data set; needed once, to write its records."""
    data_dir: str | None = None
    """Where records are kept. Default: ~/tensorflow_datasets."""

    name: str | None = None
    """Name of the run's folder. Default: data set, model and seed."""
    runs_dir: str = "runs"
    """Where run folders are kept."""
    overwrite: bool = False
    """Replace a run of the same name."""

    sampling: Literal["apex", "uniform", "tim"] = "apex"
    """Frames of a clip: apex: from a window around the apex. uniform: evenly from onset
    to offset. tim: as many, interpolated (temporal interpolation model)."""
    frames: int = 16
    """How many frames a clip has."""
    window: int = 32
    """Frames around the apex that they are drawn from."""
    size: int = 112
    """Height and width of the input. Records are 112 x 112 and averaged down if this
    divides 112, else of this size."""
    crop: Literal["auto", "provided", "detect", "none"] | None = None
    """provided: the data set's own cropped release. detect: find faces in a raw one.
    none: whole frames. Default: provided if your copy allows it, else detect."""
    margin: float | None = None
    """Added around a detected face on each side, as a share of it."""
    release: str | None = None
    """The release of a licensed data set to read. Default: as crop says."""
    table: str | None = None
    """File name of its table to read. Default: as datasets/NAME/README.md says."""
    expressions: Literal["micro", "macro", "both"] | None = None
    """cas_me_2: which of them. Default: micro."""

    label: str = "emotion"
    """What is told apart. In cas_me_2 emotion is the stimulus's, as in the paper; it
    also has estimated_emotion and self_reported_emotion."""
    classes: tuple[str, ...] = ("disgust", "happiness", "surprise")
    """Emotions to tell apart; clips of others are left out."""
    min_frames: int = 1
    """Leave out expressions of fewer frames, onset to offset."""
    test_fraction: float = 0.25
    """Share of the clips that is held out for the test."""
    validation_fraction: float = 0.2
    """Share of the rest that chooses the checkpoint."""
    seed: int = 0
    """Draws the split, the parameters, the order and the flips."""

    attention: bool = True
    """Off: the paper's 3D ResNet-18."""
    width: int = 64
    """Channels of the first stage."""
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks in each stage."""
    reduction: int = 16
    """Reduction ratio r of the channel attention."""
    kernel_size: Literal[3, 5, 7] = 5
    """Extent of the spatio-temporal attention's convolution."""
    shared: SharedNetwork = "cnn"
    """Shared network of the channel attention."""
    shortcut: Shortcut = "projection"
    """Shortcut where the shape changes."""

    flip: bool = True
    """Mirror training clips with probability 0.5."""
    epochs: int = 100
    """Passes over the training part."""
    batch_size: int = 8
    """Clips a step, over all devices together."""
    optimizer: Literal["radam", "adam_warmup"] = "radam"
    """adam_warmup: Adam with a linear warm-up of 2 / (1 - beta2) steps."""
    learning_rate: float = 0.1
    """Initial rate; a cosine takes it to 0 over the run."""
    devices: int | None = None
    """How many devices to train on. Default: all."""

    def __post_init__(self):
        """Raises UserError for values that no run can have."""
        for field, hint in typing.get_type_hints(type(self)).items():
            valid = typing.get_args(hint)
            if typing.get_origin(hint) is Literal and getattr(self, field) not in valid:
                raise UserError(
                    f"--{field}={getattr(self, field)} is none of "
                    f"{', '.join(map(str, valid))}."
                )
        for field, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("min_frames", 1),
            ("width", 1),
            ("reduction", 1),
            ("size", 1),
            ("seed", 0),
        ):
            if getattr(self, field) < least:
                value = getattr(self, field)
                raise UserError(f"--{field}={value} must be at least {least}.")
        if self.seed >= 2**32:
            raise UserError(f"--seed={self.seed} must be below {2**32}.")
        if self.devices is not None and self.devices < 1:
            raise UserError(f"--devices={self.devices} must be at least 1.")
        for field in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, field) < 1:
                value = getattr(self, field)
                raise UserError(f"--{field}={value} must be between 0 and 1.")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"--learning_rate={self.learning_rate} must be above 0.")
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise UserError(
                f"--classes {' '.join(self.classes)}: name at least two different ones."
            )
        if not self.stage_sizes or min(self.stage_sizes) < 1:
            raise UserError(
                f"--stage_sizes {self.stage_sizes}: each stage needs a block."
            )
        if self.name is not None and (
            self.name in ("", ".", "..") or "/" in self.name or "\\" in self.name
        ):
            raise UserError(f"--name={self.name!r} must be a plain folder name.")

    def record_options(self) -> dict[str, object]:
        """What the records must be, by the names of ``datasets.prepare.Options``."""
        names = ("sampling", "frames", "window", "crop", "margin") + (
            "release",
            "table",
            "expressions",
        )
        # Records of the paper's size serve every size that divides it.
        size = self.size if _RECORDED % self.size else _RECORDED
        return {name: getattr(self, name) for name in names} | {"size": size}

    @property
    def run_name(self) -> str:
        """The run folder's name."""
        model = "meranet" if self.attention else "resnet3d"
        dataset = self.dataset.replace("/", "-")
        return self.name or f"{dataset}-{model}-{self.preset}-seed{self.seed}"


# Height and width of records; the paper's.
_RECORDED = 112

# What the paper sets apart for each data set (sections 4.1 to 4.3).
_RECIPES = {
    "synthetic": {},
    "casme": {"min_frames": 16, "classes": ("disgust", "repression", "tense")},
    "casme2": {"min_frames": 16},
    # Of its 57 micro-expressions 10 have 16 frames, so none is left out.
    "cas_me_2": {
        "window": 16,
        "classes": ("anger", "disgust", "happiness"),
        "test_fraction": 0.2,
    },
}

_PRESETS = {
    "paper": {},
    # Minutes on two cores. So few steps want a smaller rate.
    "small": {
        "width": 16,
        "stage_sizes": (1, 1, 1, 1),
        "size": 56,
        "epochs": 18,
        "learning_rate": 0.003,
    },
}


def default_config(dataset: str, preset: Preset) -> TrainConfig:
    """The paper's recipe for ``dataset``, changed as ``preset`` needs.

    Args:
      dataset: a data set's name, with or without a configuration.
      preset: see ``TrainConfig``.

    Raises:
      UserError: if there is no recipe for the data set.
    """
    name = dataset.partition("/")[0]
    if name not in _RECIPES:
        raise UserError(
            f"No recipe for a data set named {name!r}. Known: {', '.join(_RECIPES)}."
        )
    values = _RECIPES[name] | _PRESETS[preset]
    return TrainConfig(dataset=dataset, preset=preset, **values)


def make_model(config: TrainConfig, *, axis_name: str | None = None) -> MERANet:
    """The configuration's network.

    Args:
      config: names its fields.
      axis_name: the pmapped axis over which batch statistics are averaged, if any.
    """
    return MERANet(
        num_classes=len(config.classes),
        attention=config.attention,
        width=config.width,
        stage_sizes=config.stage_sizes,
        reduction=config.reduction,
        kernel_size=config.kernel_size,
        shared=config.shared,
        shortcut=config.shortcut,
        axis_name=axis_name,
    )
