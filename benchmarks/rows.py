"""Measuring in turns, and writing rows to ``benchmarks/results/NAME.csv``."""

import csv
import datetime
import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meranet_jax import cores

RESULTS = Path(__file__).parent / "results"

# Columns of every file: machine, versions, commit, and the fraction of the cores that
# was busy with other work before the measurement.
WHERE = ("date", "backend", "device", "cores", "python", "jax", "jaxlib", "torch")
WHERE += ("commit", "busy")

# A larger fraction of busy cores gives a warning.
_MAX_BUSY = 0.1

# Changes of these files, which benchmarks write, do not count as changes of the code.
_WRITTEN = ("benchmarks/results", "docs", "README.md")


class Spread(NamedTuple):
    """Median, minimum and maximum of repeated measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Computes the spread of values."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def columns(self, name: str) -> dict[str, float]:
        """Returns the three values as cells of a row."""
        return {name: self.median, f"{name}_least": self.least, f"{name}_most": self[2]}

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.least:.4g} to {self.most:.4g})"


class Table:
    """A CSV file to which rows are appended."""

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        *,
        backend: str | None = None,
        folder: Path = RESULTS,
    ):
        """Checks an existing file before anything is measured.

        Args:
          name: name of the file without suffix.
          columns: the columns after those of ``WHERE``.
          backend: the backend that is measured. Default: JAX's default backend.
          folder: folder of the file.

        Raises:
          SystemExit: if the file exists with other columns.
        """
        self.path = folder / f"{name}.csv"
        self.columns = (*WHERE, *columns)
        self._backend = backend
        self._busy = busy()
        if self._busy and self._busy > _MAX_BUSY:
            print(
                f"warning: {self._busy:.0%} of the cores have other work, which slows "
                "down PyTorch most, since its threads spin while they wait. Measure "
                "on an idle machine, or set OMP_WAIT_POLICY=PASSIVE."
            )
        if self.path.exists():
            with self.path.open(newline="") as file:
                existing = tuple(next(csv.reader(file), ()))
            if existing != self.columns:
                raise SystemExit(
                    f"error: {self.path} has the columns {', '.join(existing)}; "
                    f"expected {', '.join(self.columns)}. Move it away, or give its "
                    "rows the new columns."
                )

    def append(self, row: Mapping[str, object]) -> None:
        """Appends a row, with numbers to four digits and empty cells for None.

        Raises:
          ValueError: if the row has other columns than the file.
        """
        row = where(self._backend) | {"busy": self._busy} | dict(row)
        if set(row) != set(self.columns):
            wrong = ", ".join(sorted(set(row) ^ set(self.columns)))
            raise ValueError(f"{self.path.name}: missing or unknown columns {wrong}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow({name: _cell(value) for name, value in row.items()})


def read(name: str, folder: Path = RESULTS) -> list[dict[str, str]]:
    """Reads the rows of a file, oldest first; an empty list without a file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def where(backend: str | None = None) -> dict[str, object]:
    """Returns the cells of ``WHERE`` except for ``busy``.

    Args:
      backend: the backend that is measured. Default: JAX's default backend.
    """
    device = _processor()
    if backend is None:
        import jax

        backend = jax.default_backend()
        if backend != "cpu":
            device = jax.devices()[0].device_kind
    return {
        "date": datetime.date.today().isoformat(),
        "backend": backend,
        "device": device,
        "cores": cores.count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "torch")},
        "commit": _commit(),
    }


def busy(seconds: float = 0.3) -> float | None:
    """Measures the fraction of the available cores that other processes use.

    Returns:
      The fraction; None if the system does not report it.
    """
    try:
        idle, total = _ticks()
        time.sleep(seconds)
        idle_then, total_then = _ticks()
    except (OSError, ValueError):
        return None
    if total_then == total:
        return None
    return max(0.0, 1 - (idle_then - idle) / (total_then - total))


def version(package: str) -> str | None:
    """Returns the version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def alternate(
    ways: Mapping[str, Callable[[], object]], repetitions: int
) -> dict[str, np.ndarray]:
    """Measures functions in turns, so that a slower machine affects all of them.

    Nothing is called before the measurement, so the first repetition may include
    compilation.

    Args:
      ways: functions by name. Each must wait for its result.
      repetitions: number of measurements of each.

    Returns:
      Seconds, float64 [repetitions] by name.
    """
    seconds = {name: np.zeros(repetitions) for name in ways}
    for repetition in range(repetitions):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name][repetition] = time.perf_counter() - start
    return seconds


def _ticks() -> tuple[int, int]:
    """Returns idle ticks and all ticks of the available cores since the start."""
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    idle = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            numbers = [int(tick) for tick in ticks[:8]]
            idle += numbers[3] + numbers[4]  # idle, and waiting for a disk
            total += sum(numbers)
    return idle, total


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else value


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Returns the commit, with + if the tree has changes; None outside a repository."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["git", *arguments],
            cwd=RESULTS.parents[1],
            capture_output=True,
            text=True,
        )

    try:
        head = git("rev-parse", "--short", "HEAD")
    except FileNotFoundError:
        return None
    if head.returncode:
        return None
    changes = git("status", "--porcelain", "--", ".", *(f":!{p}" for p in _WRITTEN))
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")
