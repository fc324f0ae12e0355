"""Programs that were compiled once are kept for the next run."""

import os
from pathlib import Path

import jax

# Bytes of programs that are kept; those that were not used for longest go first.
_MOST = 4 << 30
# Seconds: what compiles faster is not worth a file.
_LEAST = 0.1


def keep() -> None:
    """Keep compiled programs in the user's cache folder.

    ``JAX_COMPILATION_CACHE_DIR`` names another, and ``JAX_ENABLE_COMPILATION_CACHE=0``
    keeps none, as with any JAX program.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    jax.config.update("jax_compilation_cache_dir", str(caches / "meranet_jax" / "jax"))
    jax.config.update("jax_compilation_cache_max_size", _MOST)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST)
