"""SIGINT and SIGTERM: how a run is asked to stop, by hand or by a scheduler."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Signals that have raised: Python drops what is raised in some places, as in what the
# garbage collector calls.
_came: list[int] = []

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
        """Whether a signal has come here."""
        return self._number is not None

    def leave(self) -> None:
        """Raises Interrupted; where no signal has come, as if it were SIGTERM."""
        raise Interrupted(self._number or signal.SIGTERM)

    def _note(self, number: int, frame) -> None:
        if not self.asked:
            self._number = number
            name = signal.Signals(number).name
            _say(f"{name}: stopping after this step; again: at once\n")


def listen() -> None:
    """From now on a signal raises Interrupted, and a second ends the process at once.

    To be called once, from the main thread.
    """

    def leave(number, frame):
        _came.append(number)
        raise Interrupted(number)

    for number in _SIGNALS:
        signal.signal(number, leave)
    sys.unraisablehook = _drop
    # What is called for a signal waits for the main thread, which may be compiling for
    # minutes. Bytes come to this pipe at once.
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    signal.set_wakeup_fd(sink)

    def count():
        os.read(source, 1)
        number = os.read(source, 1)[0]
        if sys.stderr.isatty():
            _say(_CURSOR.decode())
        os._exit(128 + number)

    threading.Thread(target=count, daemon=True).start()


def _drop(unraisable) -> None:
    """Nothing of an Interrupted that Python drops; ``deferred`` raises it again."""
    if not issubclass(unraisable.exc_type, Interrupted):
        sys.__unraisablehook__(unraisable)


def end_only_at_second() -> None:
    """From now on a first signal does nothing; the process is about to end anyway."""
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: None)


@contextlib.contextmanager
def deferred() -> Iterator[Deferred]:
    """In this block a signal is noted and does not interrupt.

    Outside of the main thread, which alone can listen to signals, none is noted.

    Raises:
      Interrupted: at its end, if a signal has come; at once, if one came before.
    """
    if _came:
        raise Interrupted(_came[0])
    one = Deferred()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(n, one._note) for n in _SIGNALS}
    try:
        yield one
    finally:
        for number, handler in before.items():
            if handler is not None:  # which was not set from Python
                signal.signal(number, handler)
    if one.asked:
        one.leave()


def _say(text: str) -> None:
    """Past sys.stderr, which may be in use; nobody may be reading any more."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
