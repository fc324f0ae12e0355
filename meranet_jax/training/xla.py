"""What JAX is told before it starts: where to keep programs, how to use devices."""

import os
from pathlib import Path

import jax

from meranet_jax.data import machine

# Bytes of programs that are kept; those that were not used for longest go first.
_MOST = 4 << 30
# Seconds: what compiles faster is not worth a file.
_LEAST = 0.1


def prepare(*, deterministic: bool = False) -> None:
    """All of these; to be called before anything else of JAX."""
    keep_programs()
    use_all_cores()
    if deterministic:
        demand_equal_bits()


def demand_equal_bits() -> None:
    """Let XLA use on GPUs only what gives the same bits each time.

    Without sums in the order in which threads arrive, and without choosing programs by
    timing them.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def keep_programs() -> None:
    """Keep compiled programs in the user's cache folder.

    ``JAX_COMPILATION_CACHE_DIR`` names another, and ``JAX_ENABLE_COMPILATION_CACHE=0``
    keeps none, as with any JAX program.
    """
    if jax.config.jax_compilation_cache_dir is None:
        try:
            caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        except RuntimeError:
            return  # there is no home, as in some containers
        folder = str(caches / "meranet_jax" / "jax")
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_compilation_cache_max_size", _MOST)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST)


def use_all_cores() -> None:
    """Make each core of a CPU a device.

    Much of XLA's work on a CPU runs on one core of a device's; several devices that
    divide a batch, or train a fold each, use the others (docs/performance.md). A number
    that ``XLA_FLAGS`` or ``JAX_NUM_CPU_DEVICES`` gives is left as it is. Accelerators
    are not touched by it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices < 0 and "host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", machine.cores())
