"""A program is compiled once, and its memory is given back before its first call."""

import jax
import numpy as np

from meranet_jax import heap
from meranet_jax.training.programs import Program

_COMPILED = "/jax/core/compile/backend_compile_duration"


def test_memory_of_compiling_is_given_back_before_the_first_call(monkeypatch):
    events = []

    def listen(name, seconds, **_):
        if name == _COMPILED:
            events.append("compiled")

    def called(number):
        events.append("called")

    def function(x):
        jax.debug.callback(called, x[0])
        return x + 1

    monkeypatch.setattr(heap, "give_back", lambda: events.append("gave back"))
    x = np.arange(3.0)[None]
    program = Program(jax.pmap(function, devices=jax.devices()[:1]))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for _ in range(2):
            np.testing.assert_array_equal(program(x), x + 1)
            jax.effects_barrier()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert events == ["compiled", "gave back", "called", "called"]
