"""Settings of the networks. Each field is a flag, and its docstring the flag's help."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from meranet_jax.errors import UserError
from meranet_jax.recognisers import Network
from meranet_jax.validation import check_choices, check_minimums, has_type

SharedNetwork = Literal["cnn", "mlp"]
Shortcut = Literal["projection", "zero_pad"]
Select = Literal["best_val", "last"]
Optimizer = Literal["radam", "adam_warmup", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "halving"]
Precision = Literal["fp32", "tf32", "bf16"]
Feed = Literal["auto", "device", "records"]

PAPER_ATTENTIONS = ("channel", "spatio_temporal")


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """How a network is trained. The defaults are the paper's (section 4.3)."""

    select: Select = "best_val"
    """Checkpoint that is tested: the best on the validation part, or the last."""
    flip: bool = True
    """Mirror training clips with probability 0.5."""
    augment: tuple[str, ...] = ()
    """Further random changes of training clips: shift, rotate, scale, brightness,
    contrast, time_shift, speed, drop (frames)."""
    balance: bool = False
    """Draw each class equally often: in each epoch, clips of rare classes are repeated
    and some of common classes are left out."""
    epochs: int = 100
    """Passes over the training part."""
    batch_size: int = 8
    """Clips in a step of a fold, over all devices that train it."""
    accumulate: int = 1
    """Compute a batch in this many parts, one after another, to save memory. Batch
    normalisation uses the statistics of each part."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    precision: Precision | None = None
    """fp32, tf32 (matrix products on recent NVIDIA GPUs) or bf16; parameters,
    statistics and loss are always float32. Default: bf16 on a TPU and on NVIDIA GPUs
    since Ampere, else fp32."""
    deterministic: bool = False
    """Give the same bits in every run on the same GPU, at some cost. On a CPU results
    are always deterministic."""
    optimizer: Optimizer = "radam"
    """adam_warmup: Adam with a linear warm-up of 2 / (1 - beta2) steps. sgd: stochastic
    gradient descent, with --momentum."""
    momentum: float = 0.0
    """Momentum of --optimizer=sgd; the other optimisers ignore it."""
    learning_rate: float = 0.1
    """Initial learning rate."""
    schedule: Schedule = "cosine"
    """Learning rate over the run. cosine: it decays to 0 on a cosine. halving: it is
    halved after each tenth of the run."""
    freeze: str | None = None
    """With --init: layers that keep their weights and batch statistics, separated by
    commas: stem,block1. A name also stands for the layers that begin with it and an
    underscore."""
    devices: int | None = None
    """Number of devices to train on. A single fold is divided over them; of several
    folds, each device trains one at a time. Default: all that divide a batch, or have a
    fold. Each core of a CPU is a device, as far as its memory allows; by default a
    single fold has one device with all cores if the extension in native/ is
    installed."""
    feed: Feed = "auto"
    """device: keep all clips on each device. records: read them during training. auto:
    on the device unless they fill half of its memory."""
    checkpoint_every: float = 60.0
    """Seconds between two checkpoints, which is what a killed run can lose. A run that
    is asked to stop (Ctrl-C, SIGTERM) loses nothing."""
    compile_ahead: bool = False
    """Prepare and compile, and stop before training: a later run finds the compiled
    programs."""

    def __post_init__(self):
        """Raises UserError for values that no run can have."""
        check_choices(self)
        check_minimums(
            self,
            {
                "epochs": 1,
                "batch_size": 1,
                "accumulate": 1,
                "devices": 1,
                "checkpoint_every": 0,
            },
        )
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"--learning_rate={self.learning_rate} must be above 0.")
        if not 0 <= self.momentum < 1:
            raise UserError(f"--momentum={self.momentum} must be from 0 to below 1.")


def architecture(settings: NetworkSettings) -> dict[str, Any]:
    """Returns the settings that determine the weights of a network, by name.

    They are the fields that ``NetworkSettings``, which describes the training, does not
    have.
    """
    training = {field.name for field in dataclasses.fields(NetworkSettings)}
    return {n: value for n, value in vars(settings).items() if n not in training}


def of_architecture(
    network: Network, saved: Mapping[str, Any], source: object
) -> NetworkSettings:
    """Returns the settings of a network from those that ``architecture`` returned.

    Args:
      network: the specification.
      saved: settings by name. One that is not given has its default.
      source: of ``saved``, for messages.

    Raises:
      UserError: if the network has no such setting, the setting does not determine the
        weights, or its value is invalid.
    """
    valid = architecture(network.settings())
    hints = typing.get_type_hints(network.settings)
    for name, value in saved.items():
        if name not in valid or not has_type(value, hints[name]):
            raise UserError(
                f"{source}: {name}={value!r} is no setting of the architecture of "
                f"{network.name}, which has {', '.join(valid)}. Another version may "
                "have written it."
            )
    try:
        return network.settings(**saved)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


@dataclasses.dataclass(frozen=True)
class WithoutRemat(NetworkSettings):
    """How a network is trained that keeps its activations for the backward pass."""

    def __post_init__(self):
        """Raises UserError for values that no run can have."""
        super().__post_init__()
        if self.remat:
            raise UserError(
                "--remat applies to meranet and resnet3d only. Leave it out; "
                "--accumulate and a smaller --batch_size save memory, too."
            )


@dataclasses.dataclass(frozen=True)
class ResNet3DSettings(NetworkSettings):
    """The paper's 3D ResNet-18 (section 3.4, Table 2)."""

    width: int = 64
    """Channels of the first stage."""
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks in each stage."""
    shortcut: Shortcut = "projection"
    """Shortcut where the shape changes."""

    def __post_init__(self):
        """Raises UserError for values that no network can have."""
        super().__post_init__()
        check_minimums(self, {"width": 1})
        if not self.stage_sizes or min(self.stage_sizes) < 1:
            raise UserError(
                f"--stage_sizes {self.stage_sizes}: each stage needs a block."
            )


@dataclasses.dataclass(frozen=True)
class MERANetSettings(ResNet3DSettings):
    """MERANet: the 3D ResNet with attention in its blocks (sections 3.1 to 3.4)."""

    attentions: tuple[str, ...] = PAPER_ATTENTIONS
    """Attention modules of each block, in order: channel, spatio_temporal, or your own,
    MODULE:CLASS."""
    reduction: int = 16
    """Reduction ratio r of the channel attention."""
    kernel_size: Literal[3, 5, 7] = 5
    """Extent of the spatio-temporal attention's convolution."""
    shared: SharedNetwork = "cnn"
    """Shared network of the channel attention."""

    def __post_init__(self):
        """Raises UserError for values that no network can have."""
        super().__post_init__()
        check_minimums(self, {"reduction": 1})
        valid = (
            attention in PAPER_ATTENTIONS or all(attention.partition(":"))
            for attention in self.attentions
        )
        if not self.attentions:
            raise UserError(
                "--attentions is empty. For the network without attention choose "
                "--model=resnet3d."
            )
        if len(set(self.attentions)) < len(self.attentions) or not all(valid):
            raise UserError(
                f"--attentions {' '.join(self.attentions)}: name, each once, "
                f"{', '.join(PAPER_ATTENTIONS)} or your own, MODULE:CLASS."
            )
