"""What benchmarks share: taking turns, and rows of ``benchmarks/results/NAME.csv``."""

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

RESULTS = Path(__file__).parent / "results"

# In every row of every file: which machine, which versions, which commit, and which
# share of the cores had other work just before.
WHERE = ("date", "backend", "device", "cores", "python", "jax", "jaxlib", "torch")
WHERE += ("commit", "busy")

_QUIET = 0.1

# What measuring itself writes does not change what is measured.
_WRITTEN = ("benchmarks/results", "docs", "README.md")


class Spread(NamedTuple):
    """Of some repetitions."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of some values."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def columns(self, name: str) -> dict[str, float]:
        """The three as cells of a row."""
        return {name: self.median, f"{name}_least": self.least, f"{name}_most": self[2]}

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.least:.4g} to {self.most:.4g})"


class Table:
    """A file of rows that only grows."""

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        *,
        backend: str | None = None,
        folder: Path = RESULTS,
    ):
        """Looks at the file before anything is measured for it.

        Args:
          name: of the file, without its ending.
          columns: the rows' own, which stand behind those of ``WHERE``.
          backend: what was measured on, if not JAX's default one.
          folder: where the file is or will be.

        Raises:
          SystemExit: if the file is there and has other columns.
        """
        self.path = folder / f"{name}.csv"
        self.columns = (*WHERE, *columns)
        self._backend = backend
        self._busy = busy()
        if self._busy and self._busy > _QUIET:
            print(
                f"warning: {self._busy:.0%} of the cores have other work. PyTorch's "
                "threads spin while they wait for each other and suffer most: measure "
                "when all is quiet, or set OMP_WAIT_POLICY=PASSIVE."
            )
        if self.path.exists():
            with self.path.open(newline="") as file:
                there = tuple(next(csv.reader(file), ()))
            if there != self.columns:
                raise SystemExit(
                    f"error: {self.path} has other columns ({', '.join(there)}) than "
                    f"the rows to come ({', '.join(self.columns)}). Move it away, or "
                    "give its rows the new columns."
                )

    def append(self, row: Mapping[str, object]) -> None:
        """Write a row; numbers with four digits, what is None as nothing.

        Raises:
          ValueError: if its columns are not the file's.
        """
        row = where(self._backend) | {"busy": self._busy} | dict(row)
        if set(row) != set(self.columns):
            odd = sorted(set(row) ^ set(self.columns))
            raise ValueError(f"{self.path.name}: {', '.join(odd)} in one of both only")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow({name: _cell(value) for name, value in row.items()})


def read(name: str, folder: Path = RESULTS) -> list[dict[str, str]]:
    """The rows of a file, the oldest first; none where there is no file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def where(backend: str | None = None) -> dict[str, object]:
    """The cells of ``WHERE`` but ``busy``, of JAX's default backend or a named one."""
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
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "torch")},
        "commit": _commit(),
    }


def busy(seconds: float = 0.3) -> float | None:
    """Which share of our cores works while we sleep; None where it cannot be known."""
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
    """An installed package's version."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def alternate(
    ways: Mapping[str, Callable[[], object]], repetitions: int
) -> dict[str, np.ndarray]:
    """Seconds that each way takes each time. They take turns.

    A machine that slows down then slows all. Whoever wants a warm start calls each once
    before.

    Args:
      ways: by name; each must end only when its result is there.
      repetitions: of each.

    Returns:
      float64 [repetitions] by name.
    """
    seconds = {name: np.zeros(repetitions) for name in ways}
    for repetition in range(repetitions):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name][repetition] = time.perf_counter() - start
    return seconds


def _ticks() -> tuple[int, int]:
    """Of the cores that we may use: idle ticks and all ticks so far."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    idle = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in cores:
            numbers = [int(tick) for tick in ticks[:8]]
            idle += numbers[3] + numbers[4]  # idle and waiting for a disk
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
    """The commit, with + behind it if the tree has changes; None outside of one."""

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
