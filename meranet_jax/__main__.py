"""Command line of the installed package: ``python -m meranet_jax --version``.

Training and evaluation are programs of a checkout, ``train.py`` and ``eval.py``.
"""

import argparse
from collections.abc import Sequence

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
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
      arguments: the arguments, or None for those of the process.

    Raises:
      SystemExit: after ``--version`` and ``--help``, and if an argument is wrong.
    """
    parser = make_parser()
    parser.parse_args(arguments)
    parser.print_help()


if __name__ == "__main__":
    main()
