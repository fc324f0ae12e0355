"""Duration of complete runs of ``train.py``: ``python -m benchmarks.run``.

A cold run starts with an empty compilation cache. The warm run after it uses the cache
of the cold one. Records are prepared before. Rows are added to
``benchmarks/results/run.csv``.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks import rows

COLUMNS = ("preset", "epochs", "flags", "repetitions")
COLUMNS += ("cold_s", "cold_s_least", "cold_s_most")
COLUMNS += ("warm_s", "warm_s_least", "warm_s_most")
COLUMNS += ("ratio", "ratio_least", "ratio_most")

_ROOT = Path(__file__).parents[1]


def main(
    data_dir: str = "data",
    preset: str = "small",
    epochs: int = 1,
    repetitions: int = 3,
    flags: str = "",
    save: bool = True,
) -> None:
    """Measure complete runs on the synthetic data set.

    Args:
      data_dir: Folder of the records.
      preset: Preset of the run.
      epochs: Number of epochs of the run.
      repetitions: Number of measurements of each, in turns.
      flags: Other flags of train.py as one string: --flags="--protocol=loso".
      save: Whether to write a row.
    """
    table = rows.Table("run", COLUMNS) if save else None
    arguments = ["--dataset=synthetic", f"--preset={preset}", f"--epochs={epochs}"]
    arguments += [f"--data_dir={data_dir}", *shlex.split(flags)]
    prepare = [sys.executable, "-m", "datasets.prepare", "synthetic"]
    _run([*prepare, f"--data_dir={data_dir}"], {})
    seconds = {"cold": [], "warm": []}
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for how, one in seconds.items():
                one.append(_seconds(arguments, Path(folder)))
                print(f"{how}  {one[-1]:8.1f} s", flush=True)
    cold, warm = (rows.Spread.of(seconds[how]) for how in ("cold", "warm"))
    ratio = rows.Spread.of(
        [w / c for c, w in zip(seconds["cold"], seconds["warm"], strict=True)]
    )
    print(f"train.py {' '.join(arguments)}")
    print(f"cold {cold} s, warm {warm} s, warm / cold {ratio}")
    if table:
        row = {"preset": preset, "epochs": epochs, "flags": flags}
        row |= {"repetitions": repetitions} | cold.columns("cold_s")
        table.append(row | warm.columns("warm_s") | ratio.columns("ratio"))


def _seconds(arguments: list[str], folder: Path) -> float:
    """Measures the seconds of a run with a compilation cache in ``folder``."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "train.py", *arguments, f"--runs_dir={runs}"]
        start = time.perf_counter()
        _run(command, {"JAX_COMPILATION_CACHE_DIR": str(folder)})
        return time.perf_counter() - start


def _run(command: list[str], environment: dict[str, str]) -> None:
    # The setting of benchmarks/__init__.py is for processes that share a GPU.
    inherited = {
        k: v for k, v in os.environ.items() if k != "XLA_PYTHON_CLIENT_PREALLOCATE"
    }
    done = subprocess.run(
        command, cwd=_ROOT, env=inherited | environment, capture_output=True, text=True
    )
    if done.returncode:
        output = (done.stderr or done.stdout)[-2000:]
        raise SystemExit(f"error: {shlex.join(command)}\n{output}")


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
