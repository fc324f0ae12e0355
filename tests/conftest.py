"""What must be set before JAX is imported, here and in programs that tests start."""

import atexit
import gc
import importlib.metadata
import os
import shutil
import tempfile

# Four CPU devices, so that a step over several can be compared with a step over one.
# Most of the tests' time is compilation, so programs are compiled without LLVM's
# optimisations, in one part, and, where XLA still has an older way, without its fusion
# emitters: together less than a sixth of the time. `make faults` and the benchmarks
# compile as users do.
_FLAGS = [
    "--xla_force_host_platform_device_count=4",
    "--xla_backend_optimization_level=0",
]
if importlib.metadata.version("jax").startswith("0.10."):
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    _FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *_FLAGS))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"

# Tests build the same small programs again and again; each is compiled once, by one of
# the processes that share the tests.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.mkdtemp(prefix="meranet-jax-tests-")
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# Tracing makes many objects, and few that only the garbage collector frees.
gc.set_threshold(200_000, 50, 50)

# Files whose few tests take longest: they start first, so that no process is left with
# one of them at the end.
_LONGEST = (
    "test_notebook.py",
    "test_extending.py",
    "test_reproduce.py",
    "test_cluster.py",
    "test_stopping.py",
    "test_faults_in_browser.py",
    "test_predict.py",
    "test_browser.py",
)


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
