"""Handling of SIGINT and SIGTERM, with which users and schedulers stop a run."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Signals for which Interrupted was raised. Python ignores exceptions in some places,
# such as finalisers that the garbage collector calls.
_received: list[int] = []

# Escape sequence that shows the terminal's cursor, which a progress bar hides.
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """Raised when a signal stops the run.

    Attributes:
      status: exit status of the process as in shells, 128 plus the signal's number.
      kept: what was kept of the work, for the user.
    """

    def __init__(self, number: int):
        """Makes the exception for a signal.

        Args:
          number: the signal's.
        """
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        self.kept = "all finished steps of the training are saved"


@contextlib.contextmanager
def keeping(kept: str) -> Iterator[None]:
    """Says what is kept if a signal stops the block, which trains nothing.

    Args:
      kept: becomes ``Interrupted.kept``.
    """
    try:
        yield
    except Interrupted as interrupted:
        interrupted.kept = kept
        raise


class StopRequest:
    """A request to stop, recorded when a signal arrives."""

    def __init__(self):
        """Makes a request that is not yet made."""
        self._number = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self._number is not None

    def raise_interrupted(self) -> None:
        """Raises Interrupted for the signal that arrived, or else for SIGTERM."""
        raise Interrupted(self._number or signal.SIGTERM)

    def _record(self, number: int, frame) -> None:
        if not self.requested:
            self._number = number
            name = signal.Signals(number).name
            _write(f"{name}: stopping after this step; send it again to stop now\n")


def install_handlers() -> None:
    """Makes a signal raise Interrupted, and a second one end the process at once.

    Must be called once, from the main thread.
    """

    def interrupt(number, frame):
        _received.append(number)
        raise Interrupted(number)

    for number in _SIGNALS:
        signal.signal(number, interrupt)
    sys.unraisablehook = _unraisable
    # Python calls a handler in the main thread, which may be compiling for minutes, but
    # writes the signal's number to this pipe at once.
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    signal.set_wakeup_fd(sink)

    def exit_at_second():
        os.read(source, 1)
        number = os.read(source, 1)[0]
        if sys.stderr.isatty():
            _write(_SHOW_CURSOR.decode())
        os._exit(128 + number)

    threading.Thread(target=exit_at_second, daemon=True).start()


def _unraisable(unraisable) -> None:
    """Does not print an Interrupted that Python ignores; ``defer`` raises it again."""
    if not issubclass(unraisable.exc_type, Interrupted):
        sys.__unraisablehook__(unraisable)


def ignore_first_signal() -> None:
    """Ignores a first signal from now on, since the process is about to end."""
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: None)


@contextlib.contextmanager
def defer() -> Iterator[StopRequest]:
    """Defers signals to the end of the block.

    Python handles signals in the main thread only; in other threads the request is
    never made.

    Yields:
      The request, which is made when a signal arrives.

    Raises:
      Interrupted: at the end of the block if a signal arrived in it, or at once if one
        arrived before.
    """
    if _received:
        raise Interrupted(_received[0])
    request = StopRequest()
    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {n: signal.signal(n, request._record) for n in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)
    if request.requested:
        request.raise_interrupted()


def _write(text: str) -> None:
    """Writes to file descriptor 2, since sys.stderr may be locked or closed."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
