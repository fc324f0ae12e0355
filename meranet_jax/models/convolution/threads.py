"""Number of threads of a convolution on a CPU, for the form ``native``."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

from meranet_jax import cores

_threads: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "threads", default=None
)


@contextlib.contextmanager
def use_threads(number: int | None) -> Iterator[None]:
    """Sets the number of threads of convolutions that are traced within.

    The last bits of a convolution's gradient depend on it.

    Args:
      number: threads on each device; None divides the cores over the process's devices.
    """
    token = _threads.set(number)
    try:
        yield
    finally:
        _threads.reset(token)


def current() -> int | None:
    """Returns the number that ``use_threads`` set."""
    return _threads.get()


def default() -> int:
    """Returns the number of cores for each CPU device of this process.

    It does not depend on how many of the devices a run uses, so that a fold has the
    same bits however many folds are trained side by side.
    """
    return max(1, cores.count() // jax.local_device_count(backend="cpu"))
