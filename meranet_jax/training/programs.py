"""Programs of several devices: functions that ``pmap`` maps."""

from collections.abc import Callable
from typing import Any

from meranet_jax import heap


class Program:
    """A mapped function, whose arguments have the same shapes at each call.

    Arrays on the devices must have the sharding that ``pmap`` uses: others are copied
    when it is compiled, and deleted if the function may overwrite them.

    It is compiled before its first call, and the memory that tracing, and compiling or
    loading, needed is given back: otherwise it would add to that of the call.
    """

    def __init__(self, function: Any):
        """Compiles nothing yet.

        Args:
          function: the result of ``jax.pmap``.
        """
        self._function = function
        self._call: Callable = self._compile

    def __call__(self, *arguments):
        return self._call(*arguments)

    def _compile(self, *arguments):
        self._function.lower(*arguments).compile()
        heap.give_back()
        self._call = self._function
        return self._function(*arguments)
