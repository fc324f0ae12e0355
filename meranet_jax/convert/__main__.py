"""Convert weights: ``python -m meranet_jax.convert r3d_18-b3b3357e.pth``.

From torchvision's r3d_18 (Kinetics-400), STSTNet of its authors, or a run or a file of
ours, to a weights file (.npz), a safetensors file or a PyTorch state dict (.pth).
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import UserError

with program.imports(__name__):
    from meranet_jax import weights_file
    from meranet_jax.convert import conversion
    from meranet_jax.convert.conversion import Overrides


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m meranet_jax.convert",
        description=__doc__.replace("``", ""),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", type=Path, help="run folder, or file: .pth, .pt, .npz, .safetensors")
    add(
        "out",
        type=Path,
        nargs="?",
        help="file to write; its suffix names the format: .npz, .safetensors, .pth. "
        "Default for a file: the same name with .npz",
    )
    add("--seed", type=int, help="seed of the fold, for a run with several")
    add("--fold", help="name of the fold, for a run with several")
    add("--overwrite", action="store_true", help="replace an existing file")
    add(
        "--import_modules",
        action="store_true",
        help="import the Python modules that a file names. It runs their code: set it "
        "only if you trust the file",
    )
    overrides = parser.add_argument_group(
        "what the weights are for", "Replaces or completes what the source says."
    )
    add = overrides.add_argument
    add("--input", help="input of the network. Default of a state dict: its network's")
    add(
        "--frames",
        type=int,
        help="frames of a clip. Default of a state dict: its network's",
    )
    add(
        "--size",
        type=int,
        help="height and width. Default of a state dict: its network's",
    )
    add("--classes", type=_list, help="names of the outputs, separated by commas")
    add("--origin", help="a sentence that says where the weights come from")
    add(
        "--datasets",
        type=_list,
        help="data sets that the weights were trained on, separated by commas; only if "
        "the source does not name them",
    )
    return parser


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts weights.

    Args:
      arguments: the arguments, or None for those of the process.

    Raises:
      UserError: if the weights cannot be read or written.
      SystemExit: after ``--help``, and if an argument is wrong.
    """
    parsed = make_parser().parse_args(arguments)
    source, target = parsed.source.expanduser(), parsed.out
    if target is None:
        if source.is_dir() or source.suffix == ".npz":
            raise UserError("Name the file to write after the source.")
        target = source.with_suffix(".npz")
    target = target.expanduser()
    conversion.check_suffix(target)
    if target.exists() and not parsed.overwrite:
        raise UserError(f"{target} exists already. Name another, or set --overwrite.")
    overrides = Overrides(
        input=parsed.input,
        frames=parsed.frames,
        size=parsed.size,
        classes=parsed.classes,
        origin=parsed.origin,
        datasets=parsed.datasets,
    )
    converted = conversion.read(
        source,
        overrides=overrides,
        seed=parsed.seed,
        fold=parsed.fold,
        import_modules=parsed.import_modules,
    )
    conversion.save(target, converted)
    shapes = weights_file.shapes(converted.weights)
    parameters = sum(
        math.prod(shape) for name, shape in shapes.items() if name.startswith("params/")
    )
    metadata = converted.metadata
    print(f"{source}: {converted.made.title}, {parameters:,} parameters, ", end="")
    print(f"{len(metadata.classes)} classes. {metadata.origin}")
    print(f"{target}: {conversion.FORMATS[target.suffix]}, ", end="")
    print(f"{target.stat().st_size:,} bytes")


if __name__ == "__main__":
    with program.run():
        main()
