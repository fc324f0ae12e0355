"""Peak memory of a step, measured in a separate process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import tyro

from benchmarks import sides
from meranet_jax.config import TrainConfig
from meranet_jax.flags import read_flags
from meranet_jax.models.settings import Precision

_STATUS = Path("/proc/self/status")


def of(
    side: str,
    config: TrainConfig,
    precision: Precision,
    what: sides.What,
    mode: str = "eager",
) -> float | None:
    """Measures the peak memory of initialisation and two steps or forward passes.

    On an accelerator it is the peak of the framework's allocator. On a CPU it is the
    peak resident set size minus that before the network is built. Within
    ``sides.cold``, both frameworks load compiled programs.

    Args:
      side: ours or torch.
      config: the network, the input and the step.
      precision: precision of the computation.
      what: a step or a forward pass.
      mode: mode of PyTorch.

    Returns:
      Megabytes; None if the system does not report them.
    """
    command = [sys.executable, "-m", "benchmarks.memory", f"--memory_of={side}"]
    command += [f"--config={json.dumps(config.flags())}"]
    command += [f"--precision={precision}", f"--what={what}", f"--mode={mode}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(
    memory_of: str, config: str, precision: Precision, what: sides.What, mode: str
) -> None:
    """Print the peak in MB.

    Args:
      memory_of: ours or torch.
      config: Configuration as JSON.
      precision: Precision of the computation.
      what: A step or a forward pass.
      mode: Mode of PyTorch.
    """
    case = read_flags(json.loads(config))
    on_cpu = jax.default_backend() == "cpu"
    if memory_of == "torch":
        import torch  # so that its own memory is not counted
    else:
        jax.jit(lambda: 1)().block_until_ready()
    before = _resident("VmRSS")
    if memory_of == "torch":
        side = sides.Torch(case, precision, mode=mode)
    else:
        side = sides.Ours(case, precision)
    for _ in range(2):
        sides.run(side, what)
    if on_cpu:
        peak = _resident("VmHWM")
        result = None if peak is None else peak - before
    elif memory_of == "torch":
        result = torch.cuda.max_memory_allocated() / 1e6
    else:
        result = jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 1e6
    print(json.dumps(result))


def _resident(name: str) -> float | None:
    """Reads a value of /proc/self/status in MB; None if the file does not exist."""
    if not _STATUS.exists():
        return None
    return int(re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())[1]) * 1024 / 1e6


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
