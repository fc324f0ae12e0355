"""Time and memory of the attention: ``python -m benchmarks.attention``.

The paper calls the cost negligible. MERANet and its 3D ResNet are measured in turns,
with this project and with PyTorch. Rows are added to
``benchmarks/results/attention.csv``; ratios are with attention to without.
"""

import tyro

from benchmarks import memory, rows, sides, step, torch_reference
from meranet_jax.analysis import flops
from meranet_jax.config import Preset, TrainConfig
from meranet_jax.models.settings import Precision

_WAYS = ("with", "without")
COLUMNS = ("side", "preset", "precision", "batch_size", "frames", "size", "width")
COLUMNS += ("what", "repetitions")
for _way in _WAYS:
    COLUMNS += (f"{_way}_mode", f"{_way}_ms", f"{_way}_ms_least", f"{_way}_ms_most")
COLUMNS += ("ratio", "ratio_least", "ratio_most")
for _column in ("peak_mb", "parameters", "gflop"):
    COLUMNS += tuple(f"{_way}_{_column}" for _way in _WAYS)


def main(
    preset: Preset = "small",
    batch_size: int = 8,
    precision: Precision = "fp32",
    repetitions: int = 10,
    torch_modes: tuple[str, ...] | None = None,
    save: bool = True,
) -> None:
    """Time a training step and a forward pass with and without attention.

    Args:
      preset: Network and input size.
      batch_size: Number of clips of a step.
      precision: Precision of the computation; parameters are float32.
      repetitions: Number of measurements of each, in turns.
      torch_modes: Modes of PyTorch, of which the fastest is used: eager, default,
        reduce-overhead, max-autotune. Default: all that this machine supports.
      save: Whether to write rows.
    """
    table = rows.Table("attention", COLUMNS) if save else None
    config = sides.case(preset, batch_size=batch_size)
    configs = {
        way: config.change(model="meranet" if way == "with" else "resnet3d")
        for way in _WAYS
    }
    counted = {
        f"{way}_parameters": flops.parameters(one, sides.CLASSES)
        for way, one in configs.items()
    }
    print(f"{preset}, {batch_size} clips, {precision}: with and without attention")
    print(f"parameters: {' and '.join(map(str, counted.values()))}")
    with sides.cold():
        for what in ("step", "forward"):
            modes = torch_modes or torch_reference.modes()
            measured = _take_turns(configs, precision, what, repetitions, modes)
            operations = {
                f"{way}_gflop": getattr(flops, what)(one, sides.CLASSES)
                * batch_size
                / 1e9
                for way, one in configs.items()
            }
            for side, (seconds, used) in measured.items():
                row = step.case_cells(config, preset, precision)
                del row["network"]
                row |= {"side": side, "what": what, "repetitions": repetitions}
                row |= counted | operations
                for way, one in configs.items():
                    spread = rows.Spread.of(seconds[way] * 1e3)
                    row |= spread.columns(f"{way}_ms")
                    row[f"{way}_mode"] = used[way]
                    row[f"{way}_peak_mb"] = memory.of(
                        side, one, precision, what, used[way] or "eager"
                    )
                    print(
                        f"{what:8} {side:6} {way:8} {str(spread):28} ms  "
                        f"{row[f'{way}_peak_mb'] or float('nan'):8.0f} MB peak  "
                        f"{used[way] or ''}"
                    )
                ratio = rows.Spread.of(seconds["with"] / seconds["without"])
                row |= ratio.columns("ratio")
                print(f"{what:8} {side:6} with / without  {ratio}", flush=True)
                if table:
                    table.append(row)


def _take_turns(
    configs: dict[str, TrainConfig],
    precision: Precision,
    what: sides.What,
    repetitions: int,
    modes: tuple[str, ...],
) -> dict[str, tuple[dict, dict]]:
    """Measures both networks on both sides in turns.

    Returns:
      For each side: seconds and PyTorch's mode, with and without attention.
    """
    ways, used = {}, {}
    for way, config in configs.items():
        ours = sides.Ours(config, precision)
        _, expected = sides.first(ours, what)
        theirs, mode, _ = sides.opponent(
            config,
            precision,
            what,
            variables=ours.variables,
            expected=expected,
            modes=modes,
        )
        ways |= {("ours", way): ours, ("torch", way): theirs}
        used |= {("ours", way): None, ("torch", way): mode}
        sides.run(ours, what)
    seconds = sides.timed(ways, what, repetitions)
    return {
        side: tuple({way: of[side, way] for way in configs} for of in (seconds, used))
        for side in step.SIDES
    }


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
