"""Run all benchmarks one after another: ``python -m benchmarks``.

On a CPU they take a quarter of an hour. On a GPU they include the paper's network in
bfloat16, a leave-one-subject-out run and the scaling of a step. Then the tables in
docs/benchmarks.md are updated.
"""

import subprocess
import sys
import time

import tyro

_CPU = (
    "step --repetitions 10 --convolution planes",
    "step --repetitions 10",
    "step --repetitions 10 --model resnet3d",
    "step --preset paper --batch_size 2 --repetitions 2 --torch_modes eager "
    "--convolution planes",
    "step --preset paper --batch_size 2 --repetitions 2 --torch_modes eager",
    "attention --repetitions 10 --torch_modes eager",
    "run --repetitions 1",
    "input --repetitions 3",
    "preparation --number 60 --repetitions 3",
    "large_frames --repetitions 1",
    "startup",
)
_GPU = (
    "step --repetitions 30",
    "step --repetitions 30 --model resnet3d",
    "step --preset paper --batch_size 8 --repetitions 20",
    "step --preset paper --batch_size 16 --repetitions 20 --precision tf32",
    "step --preset paper --batch_size 16 --repetitions 20 --precision bf16",
    "step --preset paper --batch_size 16 --repetitions 20 --precision bf16 "
    "--model resnet3d",
    "attention --preset paper --batch_size 16 --repetitions 20 --precision bf16",
    "run --repetitions 3",
    # 74 training clips, as many as in CASME II.
    "run --repetitions 2 --preset paper --epochs 100 --flags=--test_fraction=0.84",
    "run --repetitions 1 --preset paper --epochs 5 --flags=--protocol=loso",
    "input --preset paper",
    "scale --preset paper --precision bf16",
    "preparation --repetitions 3",
    "startup",
)


def main(only: str = "", dry_run: bool = False) -> None:
    """Run the benchmarks for this machine.

    Args:
      only: Run only benchmarks whose command line contains this text.
      dry_run: Only print the command lines.
    """
    # JAX starts in another process, so that this one uses no memory of the device.
    backend = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.default_backend())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    commands = [c for c in (_CPU if backend == "cpu" else _GPU) if only in c]
    failed = []
    for command in commands:
        print(f"\n$ python -m benchmarks.{command}", flush=True)
        if dry_run:
            continue
        start = time.perf_counter()
        module, *arguments = command.split()
        call = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        if subprocess.run(call).returncode:
            failed.append(command)
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
    if not dry_run:
        subprocess.run([sys.executable, "-m", "benchmarks.table"], check=True)
    if failed:
        raise SystemExit(f"error: failed: {'; '.join(failed)}")


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
