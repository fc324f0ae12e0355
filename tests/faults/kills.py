"""kill -9 at random instants: ``python -m tests.faults.kills --number=50``.

A small run is started, killed, started again; at the end of such a chain a start is
left alone, and what comes of it is compared with a run that nobody killed. Prints a
table of the instants by what lay in the folder then, and fails if anything differs.
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
    """Kill so often.

    Args:
      number: of instants.
      chain: kills of one run at most.
      seed: draws the instants.
    """
    draw = random.Random(seed)
    stages = Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_tree(folder / "copy", rows=SOME)
        whole, _ = _finish(folder, "whole")
        start = time.monotonic()
        again, _ = _finish(folder, "again")  # with all compiled, as those to come
        lasts = time.monotonic() - start
        if again != whole:
            raise SystemExit("error: two runs that nobody killed differ")
        chains = 0
        while sum(stages.values()) < number:
            name = f"chain{chains}"
            chains += 1
            most = min(chain, number - sum(stages.values()))
            for _ in range(most):
                stage = _kill(folder, name, draw.uniform(0, lasts))
                if stage is None:
                    break
                stages[stage] += 1
            ended, said = _finish(folder, name)
            if ended != whole:
                differing = [k for k in whole | ended if ended.get(k) != whole.get(k)]
                raise SystemExit(f"error: {name}: {differing} differ\n{said}")
            print(f"{sum(stages.values())} of {number}: {name} equal", flush=True)
    print(f"\n{'killed; in the folder':34} instants  resumed and equal")
    for stage, times in stages.most_common():
        print(f"{stage:34} {times:8}  {times:17}")
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
    """What lay in the folder when it was killed; None if it had ended before."""
    process = _start(folder, name)
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    if process.returncode == 0:
        return None
    if process.returncode != _KILLED:
        raise SystemExit(f"error: {name}: it failed by itself\n{said}")
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
    """All that a start that is left alone leaves, but for times and dates."""
    process = _start(folder, name)
    said, _ = process.communicate(timeout=300)
    if process.returncode:
        raise SystemExit(f"error: {name}: it does not go on\n{said}")
    return _left(folder / name / "run"), said


def _left(run: Path) -> dict:
    left = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.name == "weights":
            weights = ocp.PyTreeCheckpointer().restore(path.absolute())
            left[name] = [np.asarray(x).tobytes() for x in jax.tree.leaves(weights)]
        elif "/weights/" in name or "/events/" in name:
            continue
        elif path.suffix == ".csv" or path.name in ("split.json", "fold.json"):
            left[name] = path.read_text()
        elif path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                del line["seconds"], line["clips_per_second"]
            left[name] = lines
        elif path.name == "report.json":
            left[name] = json.loads(path.read_text())
        elif path.name == "config.json":
            left[name] = json.loads(path.read_text())["data"]
        elif path.is_file():
            left[name] = "is there"
    return left


if __name__ == "__main__":
    sys.exit(tyro.cli(main, use_underscores=True))
