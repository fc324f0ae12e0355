"""Command line of the installed package: ``python -m meranet_jax --info``.

Training and evaluation are programs of a checkout, ``train.py`` and ``eval.py``.
"""

import argparse
import platform
from collections.abc import Sequence

from meranet_jax.errors import UserError
from meranet_jax.version import __version__


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m meranet_jax",
        description="MERANet: micro-expression recognition with a 3D residual "
        "attention network, in JAX.",
    )
    parser.add_argument(
        "--version", action="version", version=f"meranet-jax {__version__}"
    )
    parser.add_argument(
        "--info",
        action="store_true",
        help="show versions, devices and how convolutions are computed, and exit",
    )
    return parser


def describe() -> str:
    """Describes versions, devices and the forms of the convolution on a CPU.

    Raises:
      UserError: see ``lowerings.choose``.
    """
    import jax

    from meranet_jax.models.convolution import lowerings

    devices = jax.local_devices()
    kinds = sorted({f"{d.platform} ({d.device_kind})" for d in devices})
    lines = [
        f"meranet-jax {__version__}, Python {platform.python_version()}, "
        f"jax {jax.__version__}",
        f"devices: {len(devices)}, {', '.join(kinds)}",
    ]
    for dtype in ("float32", "bfloat16"):
        used = lowerings.choose(dtype)
        lines.append(f"3-D convolutions on a CPU, {dtype}: {lowerings.describe(used)}")
        for name in lowerings.NAMES:
            if name == used:
                continue
            failed = lowerings.failure(name, dtype)
            if failed:
                state = f"not used: {failed}"
            elif name == "onednn":
                state = f"works; used only if {lowerings.VARIABLE}={name}"
            else:
                state = "works"
            lines.append(f"  {name}: {state}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
      arguments: the arguments, or None for those of the process.

    Raises:
      SystemExit: after ``--version`` and ``--help``, and if an argument is wrong.
    """
    parser = make_parser()
    if not parser.parse_args(arguments).info:
        parser.print_help()
        return
    try:
        print(describe())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
