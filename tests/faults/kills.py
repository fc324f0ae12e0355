"""Kills runs at random times: ``python -m tests.faults.kills --number=50``.

A small run is started and killed with SIGKILL several times in a chain. The last start
of each chain runs to its end, and its results are compared with those of an
uninterrupted run. Prints a table of the kills by the contents of the folder, and fails
if any result differs.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import tyro

from tests.datasets.casme2_tree import SOME, write_tree
from tests.programs import SMALLEST, started

_KILLED = -9


def main(number: int = 50, chain: int = 5, seed: int = 0) -> None:
    """Kills runs and compares their results with an uninterrupted run.

    Args:
      number: number of kills.
      chain: maximum number of kills of one run.
      seed: seed of the times.
    """
    rng = random.Random(seed)
    stages = Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_tree(folder / "copy", rows=SOME)
        expected, _ = _finish(folder, "first")
        start = time.monotonic()
        second, _ = _finish(folder, "second")  # with cached programs, as later runs
        duration = time.monotonic() - start
        if second != expected:
            raise SystemExit("error: two uninterrupted runs differ")
        chains = 0
        while sum(stages.values()) < number:
            name = f"chain{chains}"
            chains += 1
            kills = min(chain, number - sum(stages.values()))
            for _ in range(kills):
                stage = _kill(folder, name, rng.uniform(0, duration))
                if stage is None:
                    break
                stages[stage] += 1
            found, output = _finish(folder, name)
            if found != expected:
                files = found.keys() | expected.keys()
                differing = [f for f in files if found.get(f) != expected.get(f)]
                raise SystemExit(f"error: {name}: {differing} differ\n{output}")
            print(f"{sum(stages.values())} of {number}: {name} equal", flush=True)
    print(f"\n{'in the folder':34}    kills  resumed and equal")
    for stage, count in stages.most_common():
        print(f"{stage:34} {count:8}  {count:17}")
    print(f"{'in ' + str(chains) + ' runs':34} {sum(stages.values()):8}")


def _start(folder: Path, name: str) -> subprocess.Popen:
    return started(
        "train.py",
        "--dataset=casme2",
        f"--manual_dir={folder / 'copy'}",
        f"--data_dir={folder / name / 'data'}",
        f"--runs_dir={folder / name}",
        "--name=run",
        "--protocol=kfold",
        "--folds=3",
        "--epochs=6",
        "--devices=2",
        "--checkpoint_every=0",
        *SMALLEST,
    )


def _kill(folder: Path, name: str, seconds: float) -> str | None:
    """Kills a run after some seconds.

    Returns:
      The contents of the folder, in words; None if the run ended before.
    """
    process = _start(folder, name)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    if process.returncode == 0:
        return None
    if process.returncode != _KILLED:
        raise SystemExit(f"error: {name}: failed without being killed\n{output}")
    return _stage(folder / name)


def _stage(folder: Path) -> str:
    run = folder / "run"
    if not list(folder.glob("data/casme2/*/*/dataset_info.json")):
        return "no records yet"
    if not (run / "config.json").exists():
        return "records, no run yet"
    if (run / "report.json").exists():
        return "a report, perhaps not all pictures"
    if len(list(run.glob("folds/*/predictions.csv"))) == 3:
        return "all folds, no report"
    if list(run.glob("folds/*/checkpoints/*tmp*")):
        return "a half-written checkpoint"
    if list(run.glob("folds/*/weights*")):
        return "weights of a fold"
    if list(run.glob("folds/*/checkpoints/*")):
        return "checkpoints"
    return "a run, no checkpoint yet"


def _finish(folder: Path, name: str) -> tuple[dict, str]:
    """Runs to the end; returns the results and the output."""
    process = _start(folder, name)
    output, _ = process.communicate(timeout=300)
    if process.returncode:
        raise SystemExit(f"error: {name}: cannot be resumed\n{output}")
    return _results(folder / name / "run"), output


def _results(run: Path) -> dict:
    """Reads the results of a run without times and dates, by file name."""
    results = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.name == "weights":
            weights = ocp.PyTreeCheckpointer().restore(path.absolute())
            results[name] = [np.asarray(x).tobytes() for x in jax.tree.leaves(weights)]
        elif "/weights/" in name or "/events/" in name:
            continue
        elif path.suffix == ".csv" or path.name in ("split.json", "fold.json"):
            results[name] = path.read_text()
        elif path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                del line["seconds"], line["clips_per_second"]
            results[name] = lines
        elif path.name in ("report.json", "calibration.json"):
            results[name] = json.loads(path.read_text())
        elif path.name == "config.json":
            results[name] = json.loads(path.read_text())["data"]
        elif path.is_file():
            results[name] = "exists"
    return results


if __name__ == "__main__":
    sys.exit(tyro.cli(main, use_underscores=True))
