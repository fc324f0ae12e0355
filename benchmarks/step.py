"""Training step and forward pass, with PyTorch's: ``python -m benchmarks.step``.

Both use the same weights and clips, and their results are compared before anything is
measured. They are measured in turns, with PyTorch in its fastest mode. Rows are added
to ``benchmarks/results/step.csv``.
"""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import tyro

from benchmarks import memory, rows, sides, torch_reference
from meranet_jax.analysis import flops
from meranet_jax.config import Preset, TrainConfig
from meranet_jax.models.convolution import lowerings
from meranet_jax.models.settings import Precision

SIDES = ("ours", "torch")
CASE = ("network", "preset", "precision", "batch_size", "frames", "size", "width")
COLUMNS = (*CASE, "convolution", "devices", "what", "repetitions", "torch_mode")
for _side in SIDES:
    COLUMNS += (f"{_side}_ms", f"{_side}_ms_least", f"{_side}_ms_most")
COLUMNS += ("ratio", "ratio_least", "ratio_most")
for _column in ("compile_s", "peak_mb", "clips_s", "gflop_s", "share"):
    COLUMNS += tuple(f"{_side}_{_column}" for _side in SIDES)
COLUMNS += ("gflop", "peak_gflop_s")


def main(
    preset: Preset = "small",
    batch_size: int = 8,
    precision: Precision = "fp32",
    model: Literal["meranet", "resnet3d"] = "meranet",
    repetitions: int = 10,
    torch_modes: tuple[str, ...] | None = None,
    convolution: str | None = None,
    save: bool = True,
) -> None:
    """Measure a training step and a forward pass.

    Args:
      preset: Network and input size.
      batch_size: Number of clips of a step.
      precision: Precision of the computation; parameters are float32.
      model: MERANet, or the 3D ResNet without attention.
      repetitions: Number of measurements of each, in turns.
      torch_modes: Modes of PyTorch, of which the fastest is used: eager, default,
        reduce-overhead, max-autotune. Default: all that this machine supports.
      convolution: Form of the convolutions on a CPU. Default: the best that works.
      save: Whether to write rows.
    """
    if convolution is not None:
        os.environ[lowerings.VARIABLE] = convolution
    table = rows.Table("step", COLUMNS) if save else None
    config = sides.case(preset, batch_size=batch_size, model=model)
    with sides.cold():
        peak = sides.peak(precision)
        print(f"{name_of(config)}, {preset}, {batch_size} clips, {precision}")
        print(f"a large matrix product: {peak / 1e9:.0f} GFLOP/s")
        for what in ("step", "forward"):
            row = measure(config, preset, precision, what, repetitions, torch_modes)
            row |= shares(row, peak)
            if table:
                table.append(row)


def measure(
    config: TrainConfig,
    preset: Preset,
    precision: Precision,
    what: sides.What,
    repetitions: int,
    torch_modes: Sequence[str] | None = None,
) -> dict[str, object]:
    """Compares results, and measures and prints time and memory of both sides.

    Returns:
      The row without the fractions of the peak; see ``shares``.
    """
    modes = torch_modes or torch_reference.modes()
    seconds, compile_s, mode, devices = _take_turns(
        config, precision, what, repetitions, modes
    )
    row = case_cells(config, preset, precision)
    row |= {"convolution": sides.convolution(precision), "devices": devices}
    row |= {"what": what, "repetitions": repetitions, "torch_mode": mode}
    operations = (
        getattr(flops, what)(config, sides.CLASSES) * config.settings.batch_size
    )
    row |= {"gflop": operations / 1e9}
    for side in SIDES:
        one = rows.Spread.of(seconds[side])
        row |= rows.Spread.of(seconds[side] * 1e3).columns(f"{side}_ms")
        row[f"{side}_compile_s"] = max(compile_s[side] - one.median, 0.0)
        row[f"{side}_clips_s"] = config.settings.batch_size / one.median
        row[f"{side}_gflop_s"] = operations / one.median / 1e9
        milliseconds = rows.Spread.of(seconds[side] * 1e3)
        print(
            f"{what:8} {side:6} {str(milliseconds):28} ms  "
            f"{row[f'{side}_compile_s']:6.1f} s to compile"
            f"{f'  {mode}' if side == 'torch' else ''}"
        )
    ratio = rows.Spread.of(seconds["ours"] / seconds["torch"])
    row |= ratio.columns("ratio")
    # Before memory is measured, which starts both frameworks again
    print(f"{what:8} ours / torch  {ratio}", flush=True)
    for side in SIDES:
        peak = memory.of(side, config, precision, what, mode)
        row[f"{side}_peak_mb"] = peak
        print(
            f"{what:8} {side:6} {float('nan') if peak is None else peak:8.0f} MB peak",
            flush=True,
        )
    return row


def _take_turns(
    config: TrainConfig,
    precision: Precision,
    what: sides.What,
    repetitions: int,
    modes: Sequence[str],
) -> tuple[dict[str, np.ndarray], dict[str, float], str, int]:
    """Returns seconds of each repetition and of the first call.

    Then PyTorch's mode, and the number of devices that ours used.
    """
    # PyTorch stops compiling after a number of programs, counted over all networks.
    torch.compiler.reset()
    ours = sides.Ours(config, precision)
    first, expected = sides.first(ours, what)
    theirs, mode, their_first = sides.opponent(
        config,
        precision,
        what,
        variables=ours.variables,
        expected=expected,
        modes=modes,
    )
    sides.run(ours, what)
    seconds = sides.timed({"ours": ours, "torch": theirs}, what, repetitions)
    return seconds, {"ours": first, "torch": their_first}, mode, ours.devices


def case_cells(
    config: TrainConfig, preset: Preset, precision: Precision
) -> dict[str, object]:
    """Returns the cells of ``CASE``."""
    cells = {"network": name_of(config), "preset": preset, "precision": precision}
    return cells | {name: config.flags()[name] for name in CASE[3:]}


def name_of(config: TrainConfig) -> str:
    """Returns the name of the network."""
    return config.title


def shares(row: dict[str, object], peak: float) -> dict[str, object]:
    """Returns the fraction of the peak FLOP/s that each side reaches."""
    cells = {f"{side}_share": row[f"{side}_gflop_s"] * 1e9 / peak for side in SIDES}
    return cells | {"peak_gflop_s": peak / 1e9}


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
