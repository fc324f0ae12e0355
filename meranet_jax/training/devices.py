"""Choice of the devices that a run trains on."""

from collections import Counter
from collections.abc import Sequence

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.data import feed, loading, machine
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import cost
from meranet_jax.training.step import convolution_form, make_model

# Fraction of the machine's memory that steps on its cores may use.
_MEMORY_FRACTION = 0.5


def choose(
    config: TrainConfig, clips: loading.Clips, folds: int
) -> Sequence[jax.Device]:
    """Chooses the devices of this process that a run trains on.

    Args:
      config: the run's.
      clips: all clips.
      folds: number of folds of the run. A single fold uses the same number of devices
        in each process.

    Returns:
      The devices, at most one for each fold if there are several.

    Raises:
      UserError: if there are fewer devices than ``--devices`` asks for.
    """
    devices = jax.local_devices()
    if folds == 1:  # processes may differ in their number of devices
        devices = devices[
            : min(Counter(d.process_index for d in jax.devices()).values())
        ]
    if config.settings.devices is not None and config.settings.devices > len(devices):
        raise UserError(
            f"--devices={config.settings.devices}, but this process has {len(devices)}"
            ". Choose a smaller number."
        )
    if config.settings.devices is None:
        devices = devices[: _default_count(config, clips, folds, devices)]
    return devices[: config.settings.devices][: folds if folds > 1 else None]


def describe_unused(
    config: TrainConfig, used: Sequence[jax.Device], folds: int
) -> str | None:
    """Returns a note if a run leaves accelerators of this process idle, else None.

    Args:
      config: the run's.
      used: the devices that it uses.
      folds: number of folds of the run.
    """
    seen = len(jax.local_devices())
    if (
        used[0].platform == "cpu"
        or len(used) == seen
        or getattr(config.settings, "devices", None) is not None
    ):
        return None
    text = f"note: {len(used)} of the {seen} devices of this process are used"
    if folds > 1:
        return f"{text}, one for each of the {folds} folds"
    return (
        f"{text}: the clips of a step must be divisible by their number. They are "
        f"--batch_size={config.settings.batch_size}, divided by --accumulate and the "
        "number of processes"
    )


def devices_of_all_processes(count: int) -> list[jax.Device]:
    """Returns the first ``count`` devices of each process."""
    return [
        device
        for index in range(jax.process_count())
        for device in jax.local_devices(process_index=index)[:count]
    ]


def _default_count(config, clips, folds: int, devices) -> int:
    """Returns the number of devices to use without ``--devices``."""
    if folds == 1:
        per_process = (
            config.settings.batch_size
            // config.settings.accumulate
            // jax.process_count()
        )
        # With this form a step on one device with all cores was faster than on a device
        # for each core, with less memory (docs/performance.md).
        if devices[0].platform == "cpu" and convolution_form(config) == "native":
            return 1
        return max(
            n for n in range(1, len(devices) + 1) if n == 1 or per_process % n == 0
        )
    if devices[0].platform != "cpu":
        return len(devices)
    needed = step_bytes(config, clips.clips.shape[1])
    if feed.should_stream(config, clips, devices[:1]):
        return max(1, int(_MEMORY_FRACTION * machine.memory_bytes() / needed))
    needed += clips.inputs.nbytes  # each device has a copy of the clips
    return max(1, int(_MEMORY_FRACTION * machine.memory_bytes() / needed))


def step_bytes(config: TrainConfig, frames: int) -> float:
    """Estimates the memory of a training step in bytes.

    A step was measured to need five times the outputs of its convolutions and matrix
    products, in addition to the parameters, their gradient and two moments. The random
    changes of clips were measured not to add to this.

    Args:
      config: the run's.
      frames: number of frames of a clip.
    """
    shape = inputs.find(config.input).shape(frames, config.size)
    model = make_model(config, num_classes=3)
    outputs = cost.forward(model, shape).outputs
    clips = config.settings.batch_size / config.settings.accumulate
    state = 4 * cost.parameters(model, shape)
    return 4 * (5 * clips * outputs + state)
