"""What the networks cost: parameters, operations, and what attention adds."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from meranet_jax.analysis import flops, markdown, saliency
from meranet_jax.analysis.experiments import MERANET, NETWORKS, RESNET
from meranet_jax.config import TrainConfig
from meranet_jax.training import precision, step

# Section 5.1, where the paper prints them in the Indian manner.
_PRINTED = {MERANET: 33_547_552, RESNET: 33_167_811}


def parameters(
    config: TrainConfig,
    num_classes: int,
    timed: Callable[[Sequence[TrainConfig], int], list[np.ndarray]],
) -> tuple[list[dict], str]:
    """How many parameters and operations both networks have, and what attention costs.

    Args:
      config: of a network.
      num_classes: its outputs.
      timed: gives the seconds of steps of some configurations; see ``take_turns``.

    Returns:
      A row for each block, and all of it in Markdown.
    """
    configs = [dataclasses.replace(config, **change) for change in NETWORKS.values()]
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
    seconds = timed(configs, num_classes)
    ratios = np.sort(seconds[0] / seconds[1])
    text = [
        f"# Parameters: width {config.width}, stages "
        f"{', '.join(map(str, config.stage_sizes))}, {num_classes} classes",
        "",
        markdown.table(
            ["block", RESNET, "attention", MERANET],
            [[f"{n:,}" if isinstance(n, int) else n for n in r.values()] for r in rows],
        ),
        "",
        f"Attention adds {totals[0] / totals[1] - 1:.3%} parameters and "
        f"{operations[0] / operations[1] - 1:.3%} operations of a forward pass "
        f"({operations[1] / 1e9:.2f} GFLOP a clip of {config.frames} x {config.size} x "
        f"{config.size} without, {operations[0] / 1e9:.2f} with). A training step of "
        f"{config.batch_size} clips in {config.precision or 'fp32'} on one "
        f"{jax.devices()[0].device_kind} takes "
        f"{np.median(ratios):.2f} times as long with it ({ratios[0]:.2f} to "
        f"{ratios[-1]:.2f} in {len(ratios)} turns).",
        "",
        *_derivation(),
    ]
    return rows, "\n".join(text) + "\n"


def take_turns(
    configs: Sequence[TrainConfig], num_classes: int, turns: int = 5
) -> list[np.ndarray]:
    """Seconds of training steps on one device, [turns] for each configuration."""
    steps = [_step_of(config, num_classes) for config in configs]
    for one in steps:
        one()  # compiles
    seconds = np.zeros((len(configs), turns))
    for turn in range(turns):
        for place, one in enumerate(steps):
            start = time.perf_counter()
            one()
            seconds[place, turn] = time.perf_counter() - start
    return list(seconds)


def _step_of(config: TrainConfig, num_classes: int) -> Callable[[], None]:
    """A training step on clips that are noise."""
    model = step.make_model(config, num_classes=num_classes)
    optimizer, rate = step.make_optimizer(config)
    shape = (config.frames, config.size, config.size, 3)
    state = step.init_state(
        jax.random.key(0), 10, model=model, optimizer=optimizer, clip_shape=shape
    )
    rng = np.random.default_rng(0)
    batch = {
        "clip": rng.integers(0, 256, (config.batch_size, *shape), np.uint8),
        "label": rng.integers(0, num_classes, config.batch_size),
    }
    update = functools.partial(
        step.train_step, model=model, optimizer=optimizer, rate=rate, flip=True
    )
    update = jax.jit(precision.applied(config)(update))
    return lambda: jax.block_until_ready(update(state, batch))


def _derivation() -> list[str]:
    """The paper's number, from the full network's."""
    full = TrainConfig()
    with_, without = (
        _by_block(dataclasses.replace(full, **change), 3)
        for change in NETWORKS.values()
    )
    backbone = sum(without.values())
    kernels = sum(full.stage_sizes) * 2 * full.kernel_size**3
    channel = sum(with_.values()) - backbone - kernels
    wide = sum(_by_block(dataclasses.replace(full, attention=False), 400).values())
    return [
        "## The paper's numbers",
        "",
        f"- 3D ResNet, 3 classes: the paper prints {_PRINTED[RESNET]:,}, ours has "
        f"{backbone:,}.",
        f"- MERANet, 3 classes: {backbone:,} + channel attention {channel:,} + "
        f"spatio-temporal kernels {kernels:,} = {backbone + channel + kernels:,}.",
        f"- The paper prints {_PRINTED[MERANET]:,} for it. With a head of 400 classes "
        f"({wide:,}) and the channel attention counted twice, as summaries that count "
        f"a shared module once a call do: {wide:,} + 2 x {channel:,} + {kernels:,} = "
        f"{wide + 2 * channel + kernels:,}.",
    ]


def _by_block(config: TrainConfig, num_classes: int) -> dict[str, int]:
    """Parameters of each block, in the order of the network."""
    model = step.make_model(config, num_classes=num_classes)
    shape = (1, config.frames, config.size, config.size, 3)
    shapes = jax.eval_shape(
        lambda key: model.init(key, jnp.zeros(shape), train=False),
        jax.random.key(0),
    )["params"]
    first, *blocks = saliency.layers(model)
    order = [first, f"{first}_norm", *blocks]
    return {
        name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes[name]))
        for name in (*order, "head")
    }
