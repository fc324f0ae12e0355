"""Command line of the installed package: ``python -m meranet_jax --info``.

``python -m meranet_jax serve`` opens a page on this machine. Training and evaluation
are programs of a checkout, ``train.py`` and ``eval.py``.
"""

import argparse
import platform
from collections.abc import Sequence

from meranet_jax import program
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
    commands = parser.add_subparsers(title="commands", dest="command")
    page = commands.add_parser(
        "serve",
        help="open a page on this machine: videos, their candidates, corrections",
        description="Open a page on this machine: drop a video or record one, look at "
        "its candidates, correct and export them. Nothing leaves this machine.",
    )
    page.add_argument("--port", type=int, default=8000, help="default: 8000")
    page.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; others than 127.0.0.1 are reachable from the "
        "network (default: 127.0.0.1)",
    )
    page.add_argument(
        "--runs", metavar="FOLDER", help="folder below which runs can be chosen"
    )
    page.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder of the recordings (default: a temporary one)",
    )
    page.add_argument(
        "--keep",
        action="store_true",
        help="keep recordings and results when the server stops",
    )
    page.add_argument(
        "--no_browser",
        action="store_true",
        help="print the address, and do not open it",
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


def _serve(given: argparse.Namespace) -> None:
    """Serves the page.

    Raises:
      UserError: if its libraries are not installed; see ``server.serve``.
    """
    with program.imports(__name__):
        try:
            from meranet_jax.web import server
        except ModuleNotFoundError as error:
            raise UserError(
                f"The page needs {error.name}, which is not installed. Install it: pip "
                'install "meranet-jax[web]"'
            ) from None
    server.serve(
        host=given.host,
        port=given.port,
        runs=given.runs,
        data=given.data,
        keep=given.keep,
        open_browser=not given.no_browser,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
      arguments: the arguments, or None for those of the process.

    Raises:
      SystemExit: after ``--version`` and ``--help``, and if an argument is wrong.
    """
    parser = make_parser()
    given = parser.parse_args(arguments)
    try:
        if given.command == "serve":
            _serve(given)
        elif given.info:
            with program.imports(__name__):  # of JAX, and it starts its devices
                text = describe()
            print(text)
        else:
            parser.print_help()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    with program.run():
        main()
