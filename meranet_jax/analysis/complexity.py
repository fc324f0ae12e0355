"""Parameters, operations, time and memory of both networks."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from meranet_jax.analysis import flops, markdown
from meranet_jax.analysis.experiments import MERANET, NETWORKS, RESNET
from meranet_jax.config import TrainConfig
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import cost, layers
from meranet_jax.training import precision, step

# Section 5.1 of the paper, which groups the digits in the Indian manner.
_PRINTED = {MERANET: 33_547_552, RESNET: 33_167_811}


def parameters(
    config: TrainConfig,
    num_classes: int,
    measure: Callable[[Sequence[TrainConfig], int], "list[Measured]"],
) -> tuple[list[dict], str]:
    """Compares parameters, operations, time and memory with and without attention.

    Args:
      config: the settings of both networks but for ``model``.
      num_classes: number of classes.
      measure: measures training steps of configurations; see ``take_turns``.

    Returns:
      A table row for each block, and the results in Markdown.
    """
    configs = [config.change(**change) for change in NETWORKS.values()]
    with_, without = (_by_block(one, num_classes) for one in configs)
    rows = []
    for block, counted in with_.items():
        attention = counted - without[block]
        rows.append(
            {"block": block, RESNET: without[block], "attention": attention}
            | {MERANET: counted}
        )
    totals = [sum(counts.values()) for counts in (with_, without)]
    rows.append(
        {"block": "all", RESNET: totals[1], "attention": totals[0] - totals[1]}
        | {MERANET: totals[0]}
    )
    operations = [flops.forward(one, num_classes) for one in configs]
    measured = measure(configs, num_classes)
    ratios = np.sort(measured[0].seconds / measured[1].seconds)
    memory = [one.temporary_bytes / 1e6 for one in measured]
    text = [
        f"# Parameters: width {config.settings.width}, stages "
        f"{', '.join(map(str, config.settings.stage_sizes))}, {num_classes} classes",
        "",
        markdown.table(
            ["block", RESNET, "attention", MERANET],
            [[f"{n:,}" if isinstance(n, int) else n for n in r.values()] for r in rows],
        ),
        "",
        f"Attention adds {totals[0] / totals[1] - 1:.3%} parameters and "
        f"{operations[0] / operations[1] - 1:.3%} operations of a forward pass "
        f"({operations[1] / 1e9:.2f} GFLOP per clip of "
        f"{config.frames} x {config.size} x {config.size} without attention, "
        f"{operations[0] / 1e9:.2f} with it). A training step of "
        f"{config.settings.batch_size} clips in "
        f"{config.settings.precision or 'fp32'} on one {jax.devices()[0].device_kind} "
        f"takes {np.median(ratios):.2f} times as long with attention (median; "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} turns). The compiled "
        f"program needs {memory[0]:,.0f} MB of temporary memory with attention, "
        f"{memory[1]:,.0f} MB without.",
        "",
        *_derivation(),
    ]
    return rows, "\n".join(text) + "\n"


@dataclasses.dataclass(frozen=True)
class Measured:
    """Measurements of the training step of a network on one device.

    Attributes:
      seconds: duration of the step in each turn, float64 [turns].
      temporary_bytes: memory that the compiled program needs for intermediate values.
    """

    seconds: np.ndarray
    temporary_bytes: int


def take_turns(
    configs: Sequence[TrainConfig], num_classes: int, turns: int = 5
) -> list[Measured]:
    """Measures training steps of configurations in turns.

    Turns make the measurements comparable if other work slows the machine down.

    Args:
      configs: the configurations.
      num_classes: number of classes.
      turns: number of measured steps of each configuration.
    """
    steps = [_compile_step(config, num_classes) for config in configs]
    for run, _ in steps:
        run()  # the first step is slower
    seconds = np.zeros((len(configs), turns))
    for turn in range(turns):
        for index, (run, _) in enumerate(steps):
            start = time.perf_counter()
            run()
            seconds[index, turn] = time.perf_counter() - start
    return [
        Measured(of_step, memory)
        for of_step, (_, memory) in zip(seconds, steps, strict=True)
    ]


def _compile_step(
    config: TrainConfig, num_classes: int
) -> tuple[Callable[[], None], int]:
    """Compiles a training step on random clips.

    Returns:
      A function that runs the step, and its temporary memory in bytes.
    """
    model = step.make_model(config, num_classes=num_classes)
    optimizer, rate = step.make_optimizer(config)
    network_input = inputs.find(config.input)
    clip_shape = network_input.shape(config.frames, config.size)
    state = step.init_state(
        jax.random.key(0), 10, model=model, optimizer=optimizer, clip_shape=clip_shape
    )
    rng = np.random.default_rng(0)
    batch_size = config.settings.batch_size
    stored = (batch_size, *network_input.stored_shape(config.frames, config.size))
    batch = {
        "clip": rng.integers(0, 256, stored, np.uint8).astype(
            network_input.stored_dtype
        ),
        "label": rng.integers(0, num_classes, batch_size),
    }
    update = step.make_step(
        config, model=model, optimizer=optimizer, rate=rate, params=state.params
    )
    update = (
        jax.jit(precision.with_precision(config)(update)).lower(state, batch).compile()
    )
    memory = update.memory_analysis().temp_size_in_bytes
    return lambda: jax.block_until_ready(update(state, batch)), memory


def _derivation() -> list[str]:
    """Derives the paper's numbers of parameters from those of the full networks."""
    total, backbone, of_channel = (
        sum(_by_block(TrainConfig.from_flags(**flags), 3).values())
        for flags in (
            {"model": "meranet"},
            {"model": "resnet3d"},
            {"model": "meranet", "attentions": ("channel",)},
        )
    )
    channel, kernels = of_channel - backbone, total - of_channel
    wide = sum(_by_block(TrainConfig.from_flags(model="resnet3d"), 400).values())
    return [
        "## The paper's numbers",
        "",
        f"- 3D ResNet, 3 classes: {_PRINTED[RESNET]:,} in the paper, {backbone:,} "
        "here.",
        f"- MERANet, 3 classes: {backbone:,} + channel attention {channel:,} + "
        f"spatio-temporal kernels {kernels:,} = {total:,}.",
        f"- The paper has {_PRINTED[MERANET]:,} for MERANet. This is the number with a "
        f"head of 400 classes ({wide:,}) and with the channel attention counted twice, "
        f"as tools do that count a shared module at each call: {wide:,} + 2 x "
        f"{channel:,} + {kernels:,} = {wide + 2 * channel + kernels:,}.",
    ]


def _by_block(config: TrainConfig, num_classes: int) -> dict[str, int]:
    """Counts the parameters of each layer, in the order of the network."""
    model = step.make_model(config, num_classes=num_classes)
    shape = inputs.find(config.input).shape(config.frames, config.size)
    shapes = layers.weight_shapes(model, shape)["params"]
    return {
        layer.name: cost.size(shapes.get(layer.name, {}))
        for layer in layers.layers(model, shape)
    }
