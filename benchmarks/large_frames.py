"""Preparing many clips of large frames: ``python -m benchmarks.large_frames``.

A generated copy with as many clips as part A of CAS(ME)^3, 1280 x 720 JPEG, in the
folders of CASME II, is prepared with one thread and with several. The reference is a
loop over the same frames with OpenCV. Each runs in a process of its own, so that its
peak memory can be measured. Rows are added to ``benchmarks/results/large_frames.csv``.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro

from benchmarks import preparation, rows
from meranet_jax import cores

Way = Literal["loop", "prepare"]

WIDTH, HEIGHT = 1280, 720

COLUMNS = ("what", "clips", "width", "height", "threads", "repetitions")
COLUMNS += ("seconds", "seconds_least", "seconds_most", "frames_per_s", "peak_mb")
COLUMNS += ("ratio", "ratio_least", "ratio_most")


def main(
    number: int = 860,
    repetitions: int = 3,
    save: bool = True,
    measure: Way | None = None,
    folder: Path | None = None,
    threads: int = 1,
) -> None:
    """Measure time and peak memory.

    Args:
      number: Number of clips of the generated copy.
      repetitions: Number of measurements of each, in turns.
      save: Whether to write rows.
      measure: Measure this once, in this process, and print JSON; the program calls
        itself so.
      folder: Folder of the copy, with --measure.
      threads: Number of threads, with --measure.
    """
    if measure is not None:
        print(json.dumps(_measure(measure, folder, threads)))
        return
    table = rows.Table("large_frames", COLUMNS, backend="cpu") if save else None
    ways: dict[str, tuple[Way, int]] = {"plain loop of OpenCV": ("loop", 1)}
    for count in sorted({1, cores.count()}):
        ways[f"prepare, {count} threads"] = ("prepare", count)
    seconds = {name: [] for name in ways}
    peaks = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name:
        preparation.write_copy(Path(name) / "copy", number, (WIDTH, HEIGHT))
        for _ in range(repetitions):
            for what, (way, count) in ways.items():
                found = _in_process(way, Path(name), count)
                seconds[what].append(found["seconds"])
                peaks[what].append(found["peak_mb"])
    reference = np.array(next(iter(seconds.values())))
    frames = number * len(preparation.numbers())
    for what, (_, count) in ways.items():
        spread = rows.Spread.of(seconds[what])
        ratio = rows.Spread.of(np.array(seconds[what]) / reference)
        peak = max(peaks[what])
        print(
            f"{what:24} {spread} s, {frames / spread.median:.0f} frames/s, peak "
            f"{peak:.0f} MB, time / loop {ratio}",
            flush=True,
        )
        if table:
            row = {"what": what, "clips": number, "width": WIDTH, "height": HEIGHT}
            row |= {"threads": count, "repetitions": repetitions}
            row |= {"frames_per_s": frames / spread.median, "peak_mb": peak}
            table.append(row | spread.columns("seconds") | ratio.columns("ratio"))


def _in_process(way: Way, folder: Path, threads: int) -> dict[str, float]:
    """Measures seconds and the peak of memory in MB in another process."""
    command = [sys.executable, "-m", "benchmarks.large_frames", f"--measure={way}"]
    command += [f"--folder={folder}", f"--threads={threads}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(way: Way, folder: Path, threads: int) -> dict[str, float]:
    import resource  # not on Windows

    start = time.perf_counter()
    if way == "loop":
        _loop(sorted((folder / "copy").glob("CASME2_RAW_selected/*/*")))
    else:
        preparation.prepare_copy(folder, "none", threads)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes; bytes on macOS
    scale = 1e-6 if sys.platform == "darwin" else 1024e-6
    return {"seconds": seconds, "peak_mb": peak * scale}


def _loop(folders: list[Path]) -> None:
    """Decodes and resizes the frames of each clip, and writes nothing."""
    cv2.setNumThreads(1)
    size = (preparation.SIZE, preparation.SIZE)
    for folder in folders:
        images = [
            cv2.imread(str(folder / f"img{number}.jpg"))[..., ::-1]
            for number in preparation.numbers()
        ]
        np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
