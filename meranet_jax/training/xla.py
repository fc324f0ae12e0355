"""Configuration of JAX and XLA that must precede any other use of JAX."""

import os
from pathlib import Path

import jax

from meranet_jax import cores

# Maximum size of the compilation cache; least recently used programs are deleted.
_CACHE_BYTES = 4 << 30
# Programs that compile faster than this are not cached, in seconds.
_MIN_SECONDS = 0.1


def configure(*, deterministic: bool = False) -> None:
    """Enables the compilation cache and all CPU cores.

    Must be called before anything else uses JAX.

    Args:
      deterministic: whether to use deterministic operations on GPUs.
    """
    enable_compilation_cache()
    use_all_cores()
    if deterministic:
        enable_deterministic_ops()


def enable_deterministic_ops() -> None:
    """Makes XLA use operations on GPUs that give the same bits each time.

    XLA then avoids atomic additions, whose order varies, and does not choose programs
    by timing them.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def enable_compilation_cache() -> None:
    """Caches compiled programs in the user's cache folder.

    As in any JAX program, ``JAX_COMPILATION_CACHE_DIR`` sets another folder,
    ``JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`` the time from which a program is
    worth storing, and ``JAX_ENABLE_COMPILATION_CACHE=0`` disables the cache.
    """
    if jax.config.jax_compilation_cache_dir is None:
        try:
            caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        except RuntimeError:
            return  # no home directory, as in some containers
        folder = str(caches / "meranet_jax" / "jax")
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_compilation_cache_max_size", _CACHE_BYTES)
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update(
                "jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS
            )


def use_all_cores() -> None:
    """Makes each core of the CPU a JAX device.

    XLA runs many operations of a CPU device on one core only. Several devices, which
    train one fold each or divide a batch, use all cores (docs/performance.md); a run
    may use fewer of them, see ``devices.choose``. A number set by ``XLA_FLAGS`` or
    ``JAX_NUM_CPU_DEVICES`` is kept. Accelerators are not affected.

    XLA also gets this number of threads, which it would count without the limit of a
    container. A number set by ``PJRT_NPROC`` or ``NPROC`` is kept.
    """
    if "NPROC" not in os.environ:
        os.environ.setdefault("PJRT_NPROC", str(cores.count()))
    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices < 0 and "host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", cores.count())
