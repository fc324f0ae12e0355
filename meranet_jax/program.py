"""How programs end: with a message and an exit status in place of a traceback.

A program imports this module first. It imports nothing that takes long.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from meranet_jax.errors import UserError, explain, explain_out_of_memory

# Packages of the repository, of which a missing module is a fault of the program
_OURS = ("meranet_jax", "datasets", "benchmarks")

# As shells report a program that SIGINT has ended
_INTERRUPTED = 128 + signal.SIGINT


@contextlib.contextmanager
def imports(name: str) -> Iterator[None]:
    """Ends a program with a message if it cannot import its modules, or at Ctrl-C.

    Importing JAX takes seconds. An exception would be printed with a traceback, and
    libraries may ignore it or turn it into an error of their own. There is nothing to
    keep yet.

    Args:
      name: ``__name__`` of the module that imports. Unless it is ``__main__``, as in
        a notebook or a test, a missing package raises its own error, and Ctrl-C does
        what it does otherwise.

    Raises:
      SystemExit: if a package is not installed.
    """
    if name != "__main__":
        yield
        return
    with _ended_by_ctrl_c():
        try:
            yield
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if not package or package in _OURS:
                raise
            sys.exit(
                f"error: {package} is not installed in this Python, {sys.executable}. "
                "make demo and make serve install it into .venv: activate that with "
                "source .venv/bin/activate. See docs/installation.md."
            )


@contextlib.contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:

    def end(number, frame) -> None:
        # sys.stderr may be in use.
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(_INTERRUPTED)

    # A program that was started in the background may ignore SIGINT.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not is_default or not in_main_thread:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def run(kept: str = "") -> Iterator[None]:
    """Runs a program; ends the process with a message if it fails or is interrupted.

    Args:
      kept: what remains of the work of a program that was interrupted.

    Raises:
      SystemExit: if the program cannot do what was asked, is interrupted, or has too
        little memory.
    """
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt as error:
        # signals.Interrupted names its signal.
        which = f" ({error})" if str(error) else ""
        print(f"interrupted{which}{f'; {kept}' if kept else ''}", file=sys.stderr)
        sys.exit(getattr(error, "status", _INTERRUPTED))
    except Exception as error:
        if (message := explain_out_of_memory(error)) is None:
            raise
        sys.exit(f"error: {message}")
