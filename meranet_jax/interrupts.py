"""SIGINT and SIGTERM: how a run is asked to stop, by hand or by a scheduler."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# What brings a terminal's cursor back, which a progress bar hides.
_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal has ended the run.

    Attributes:
      status: of the process, as shells and schedulers know it: 128 and the signal.
    """

    def __init__(self, number: int):
        """``number``: the signal's."""
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Deferred:
    """A signal that waits until what is being done may be left."""

    def __init__(self):
        """None has come."""
        self._number = None

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._number is not None

    def leave(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self._number is not None:
            raise Interrupted(self._number)

    def _note(self, number: int, frame) -> None:
        if self.asked:  # again: whoever asks does not want to wait
            if sys.stderr.isatty():
                os.write(2, _CURSOR)
            os._exit(128 + number)
        self._number = number
        # Past sys.stderr, which what was interrupted may be writing to.
        name = signal.Signals(number).name
        os.write(2, f"{name}: stopping after this step; again: at once\n".encode())


def raise_interrupted() -> None:
    """From now on both signals raise Interrupted, so that all is left in order."""

    def leave(number, frame):
        raise Interrupted(number)

    if _may_listen():
        for number in _SIGNALS:
            signal.signal(number, leave)


@contextlib.contextmanager
def deferred() -> Iterator[Deferred]:
    """In this block a first signal is noted, and a second ends the process at once.

    Outside of the main thread, which alone can listen to signals, none is noted.

    Raises:
      Interrupted: at its end, if a signal has come.
    """
    one = Deferred()
    before = {}
    if _may_listen():
        before = {n: signal.signal(n, one._note) for n in _SIGNALS}
    try:
        yield one
    finally:
        for number, handler in before.items():
            if handler is not None:  # which was not set from Python
                signal.signal(number, handler)
    one.leave()


def _may_listen() -> bool:
    return threading.current_thread() is threading.main_thread()
