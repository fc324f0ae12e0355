"""Scaling of time and memory: ``python -m benchmarks.scale``.

Batch size, frames, image size and width are varied one at a time, with this project and
with PyTorch, and the number of devices from 1 to 8. With a single device, eight are
simulated on the CPU; this tests that the loss is equal, and does not measure speed.
Rows are added to ``benchmarks/results/scale.csv`` and ``devices.csv``. The figure is
written to ``docs/scale.png``.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro

from benchmarks import rows, sides, step
from meranet_jax.config import Preset
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.settings import Precision
from meranet_jax.training.step import init_state, make_model, make_optimizer, train_step

COLUMNS = ("axis", "value", *step.COLUMNS)
DEVICE_COLUMNS = ("simulated", "devices", "batch_size", "steps", "loss")
DEVICE_COLUMNS += ("difference", "step_ms", "efficiency")

# Varied flags and their values.
_AXES = {
    "batch_size": (1, 2, 4, 8, 16, 32),
    "frames": (8, 16, 32),
    "size": (28, 56, 112),
    "width": (8, 16, 32, 64),
}
_LABELS = {
    "batch_size": "clips in the batch",
    "frames": "frames",
    "size": "height and width, pixels",
    "width": "channels of the first stage",
}
_PLOT = Path(__file__).parents[1] / "docs" / "scale.png"
_DEVICES = (1, 2, 4, 8)
# Largest relative difference between losses on different numbers of devices.
_TOLERANCE = 1e-5


def main(
    preset: Preset = "small",
    precision: Precision = "fp32",
    repetitions: int = 5,
    axes: tuple[str, ...] = (*_AXES, "devices"),
    most: int | None = None,
    torch_modes: tuple[str, ...] = ("eager",),
    save: bool = True,
) -> None:
    """Measure training steps of several sizes, and plot them.

    Args:
      preset: Settings that are not varied.
      precision: Precision of the computation.
      repetitions: Number of measurements of each, in turns.
      axes: What to vary: batch_size, frames, size, width, devices.
      most: Maximum batch size.
      torch_modes: Modes of PyTorch; compiling it for many sizes takes long.
      save: Whether to write rows and the figure.
    """
    table = rows.Table("scale", COLUMNS) if save else None
    backend = "cpu" if _simulated() else None
    devices = rows.Table("devices", DEVICE_COLUMNS, backend=backend) if save else None
    if unknown := set(axes) - {*_AXES, "devices"}:
        raise SystemExit(f"error: unknown --axes: {', '.join(unknown)}.")
    with sides.cold():
        peak = sides.peak(precision)
        for axis in (axis for axis in axes if axis != "devices"):
            for value in _AXES[axis]:
                if axis == "batch_size" and most is not None and value > most:
                    continue
                config = sides.case(preset, **{axis: value})
                print(f"{_LABELS[axis]}: {value}")
                row = step.measure(
                    config, preset, precision, "step", repetitions, torch_modes
                )
                row |= step.shares(row, peak) | {"axis": axis, "value": value}
                if table:
                    table.append(row)
    if save:
        draw(_PLOT)
    if "devices" in axes:
        for row in _over_devices(preset):
            print("  ".join(f"{name} {value}" for name, value in row.items()))
            if devices:
                devices.append(row)


def over_devices(preset: Preset, counts: tuple[int, ...] = _DEVICES) -> list[dict]:
    """Compares the same steps on several numbers of devices.

    Args:
      preset: the network.
      counts: numbers of devices; the first is the reference.

    Returns:
      A row for each number of devices that this process has.

    Raises:
      AssertionError: if a loss differs by more than a hundred-thousandth.
    """
    sides.allow("fp32")  # a lower precision would differ by more
    simulated = jax.default_backend() == "cpu"
    result, reference = [], None
    for count in (count for count in counts if count <= jax.device_count()):
        config = sides.case(preset, batch_size=max(counts))
        losses, _ = _losses(config, count, steps=3)
        row = {"simulated": simulated, "devices": count, "steps": 3}
        row |= {"batch_size": config.settings.batch_size, "loss": f"{losses[-1]:.7f}"}
        row |= {"step_ms": None, "efficiency": None}
        reference = losses if reference is None else reference
        row["difference"] = float(np.abs(losses / reference - 1).max())
        assert row["difference"] <= _TOLERANCE, f"{count} devices: {row['difference']}"
        if not simulated:  # the number of clips of each device is constant
            scaled = config.change(batch_size=8 * count)
            _, seconds = _losses(scaled, count, steps=20)
            row["step_ms"] = seconds * 1e3
            row["efficiency"] = result[0]["step_ms"] / row["step_ms"] if result else 1.0
        result.append(row)
    return result


def draw(path: Path, folder: Path = rows.RESULTS) -> None:
    """Plots the newest row of each point, for the machine of the newest row.

    Args:
      path: the PNG file to write.
      folder: folder of the rows.
    """
    import matplotlib.pyplot as plt

    points = rows.read("scale", folder)
    if not points:
        return
    last = points[-1]
    same = ("device", "cores", "preset", "precision", "network")
    points = [p for p in points if all(p[name] == last[name] for name in same)]
    axes = [axis for axis in _AXES if any(p["axis"] == axis for p in points)]
    figure, panels = plt.subplots(
        2, len(axes), figsize=(3.2 * len(axes), 5.6), squeeze=False, sharex="col"
    )
    styles = {"ours": ("#0072b2", "o-", "meranet_jax"), "torch": ("#d55e00", "s--", "")}
    for (above, below), axis in zip(panels.T, axes, strict=True):
        newest = {float(p["value"]): p for p in points if p["axis"] == axis}
        values = sorted(newest)
        for side, (colour, line, label) in styles.items():
            label = label or f"PyTorch {last['torch']}"
            for panel, column in ((above, "ms"), (below, "peak_mb")):
                cells = [newest[value][f"{side}_{column}"] for value in values]
                numbers = [float(cell or "nan") for cell in cells]
                panel.plot(values, numbers, line, color=colour, label=label)
        for panel in (above, below):
            if not np.isfinite(panel.dataLim.intervaly).all():
                continue  # the memory is unknown
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(values, [f"{value:g}" for value in values])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_major_locator(plt.LogLocator(10, (1, 2, 5)))
        below.set_xlabel(_LABELS[axis])
    panels[0, 0].set_ylabel("training step, ms")
    panels[1, 0].set_ylabel("peak memory, MB")
    figure.suptitle(
        f"{last['network']}, {last['preset']} preset, {last['precision']}\n"
        f"{last['device']}, {last['cores']} cores",
        fontsize=10,
    )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _simulated() -> bool:
    """Returns whether several devices have to be simulated."""
    return jax.default_backend() == "cpu" or jax.device_count() == 1


def _over_devices(preset: Preset) -> list[dict]:
    """Calls ``over_devices``, in a process with eight CPU devices if necessary."""
    if not _simulated():
        return over_devices(preset)
    flags = f"{os.environ.get('XLA_FLAGS', '')} "
    flags += f"--xla_force_host_platform_device_count={_DEVICES[-1]}"
    program = "import json; from benchmarks import scale; "
    program += f"print(json.dumps(scale.over_devices({preset!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=_PLOT.parents[1],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"error: over eight devices\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _losses(config, count: int, *, steps: int) -> tuple[np.ndarray, float]:
    """Returns the loss of each step, and the seconds of a step after the first two."""
    axis = "batch"
    model = make_model(config, num_classes=sides.CLASSES, axis_name=axis)
    optimizer, rate = make_optimizer(config)
    batch = sides.batch(config)
    init = partial(
        init_state,
        model=make_model(config, num_classes=sides.CLASSES),
        optimizer=optimizer,
        clip_shape=batch["clip"].shape[1:],
    )
    state = jax.jit(init)(jax.random.key(0), 1_000_000)
    update = jax.pmap(
        partial(
            train_step,
            model=model,
            optimizer=optimizer,
            rate=rate,
            network_input=inputs.find(config.input),
            flip=True,
        ),
        axis_name=axis,
        in_axes=(None, 0),
        out_axes=None,
        devices=jax.devices()[:count],
    )
    batch = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), batch)
    losses = []

    def advance(times: int):
        nonlocal state
        for _ in range(times):
            state, sums = update(state, batch)
            losses.append(sums["loss"] / config.settings.batch_size)
        jax.block_until_ready(losses[-1])

    advance(2)
    seconds = rows.alternate({"step": lambda: advance(steps - 2)}, 1)["step"][0]
    return np.array(jax.device_get(losses)), seconds / (steps - 2)


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
