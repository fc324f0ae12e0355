"""Train step and forward pass beside PyTorch: ``python -m benchmarks.step``.

Same weights, same clips, compared before anything is timed; then the two take turns,
so that a machine that slows down slows both.
"""

import dataclasses
import time
from typing import Literal

import jax
import numpy as np
import torch
import torch.nn.functional as F
import tyro

from benchmarks import torch_reference
from meranet_jax import data
from meranet_jax.config import default_config, make_model
from meranet_jax.step import init_state, make_optimizer, train_step

_RATE = 1e-3
# Of the cosine; so many that the rate stays what PyTorch has.
_STEPS = 1_000_000


def main(
    preset: Literal["paper", "small"] = "small",
    batch_size: int = 8,
    repetitions: int = 10,
    attention: bool = True,
) -> None:
    """Time a training step and a forward pass of both.

    Args:
      preset: which network and input size.
      batch_size: clips a step.
      repetitions: of each, in turn.
      attention: MERANet, or its 3D ResNet.
    """
    config = default_config("synthetic", preset)
    shape = (16, config.size, config.size, 3)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (batch_size, *shape), np.uint8)
    labels = (np.arange(batch_size) % 3).astype(np.int32)
    model = make_model(config, num_classes=3).clone(attention=attention)
    config = dataclasses.replace(config, learning_rate=_RATE)
    optimizer, rate = make_optimizer(config)
    state = init_state(
        jax.random.key(0), _STEPS, model=model, optimizer=optimizer, clip_shape=shape
    )

    theirs = torch_reference.MERANet(
        3, attention=attention, width=config.width, stage_sizes=config.stage_sizes
    )
    variables = jax.device_get((state.params, state.batch_stats))
    torch_reference.load(theirs, *variables)
    theirs = theirs.to(memory_format=torch.channels_last_3d)
    their_optimizer = torch.optim.RAdam(theirs.parameters(), _RATE)
    their_clips = torch_reference.channels_first(np.asarray(data.normalise(clips)))
    their_clips = their_clips.to(memory_format=torch.channels_last_3d)
    their_labels = torch.from_numpy(labels.astype(np.int64))

    @jax.jit
    def forward(state, clips):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return model.apply(variables, data.normalise(clips), train=False)

    @jax.jit
    def step(state, batch):
        return train_step(
            state, batch, model=model, optimizer=optimizer, rate=rate, flip=False
        )

    def our_step():
        nonlocal state
        state, metrics = step(state, {"clip": clips, "label": labels})
        return metrics["loss"].item() / batch_size

    def their_step():
        theirs.train()
        their_optimizer.zero_grad()
        loss = F.cross_entropy(theirs(their_clips), their_labels)
        loss.backward()
        their_optimizer.step()
        return loss.item()

    def our_forward():
        return np.asarray(forward(state, clips))

    def their_forward():
        theirs.eval()
        with torch.inference_mode():
            return theirs(their_clips).numpy()

    np.testing.assert_allclose(our_forward(), their_forward(), rtol=1e-3, atol=1e-3)
    start = time.perf_counter()
    np.testing.assert_allclose(our_step(), their_step(), rtol=1e-3)
    print(f"first step, with compilation: {time.perf_counter() - start:.1f} s")
    print(
        f"{'MERANet' if attention else '3D ResNet'}, {preset}, batch {batch_size} x "
        f"{shape}, {jax.devices()[0].device_kind}, jax {jax.__version__}, "
        f"torch {torch.__version__} on {torch.get_num_threads()} threads"
    )
    for name, ours, other in (
        ("training step", our_step, their_step),
        ("forward pass", our_forward, their_forward),
    ):
        ours(), other()
        times = np.array(
            [(_seconds(ours), _seconds(other)) for _ in range(repetitions)]
        )
        ratio = np.median(times[:, 0] / times[:, 1])
        for column, who in enumerate(("meranet_jax", "torch")):
            low, middle, high = np.percentile(times[:, column], (0, 50, 100)) * 1e3
            print(f"{name}  {who:11}  {middle:8.1f} ms  ({low:.1f} to {high:.1f})")
        print(f"{name}  ours / torch  {ratio:.2f}")


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
