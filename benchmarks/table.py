"""The README's table and its picture: ``python -m benchmarks.table``.

Of the rows in ``benchmarks/results`` and of nothing else. The newest row counts; a cell
for which there is none stays empty.
"""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import rich.table
import tyro
from rich.console import Console

from benchmarks import rows

_ROOT = Path(__file__).parents[1]
README = _ROOT / "README.md"
_PLOT = _ROOT / "docs" / "benchmarks.png"
_BEGIN, _END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

Row = dict[str, str]


class Line(NamedTuple):
    """A line of the table: what it tells, and where that stands.

    Attributes:
      text: its first cell.
      name: the file's.
      where: cells that the row must have.
      cells: ours, the other, and the ratio, of a row.
      heading: what is compared.
    """

    text: str
    name: str
    where: Row
    cells: Callable[[Row], tuple[str, str, str]]
    heading: str


def main(check: bool = False) -> None:
    """Write the table into the README, draw the picture, print the ratios.

    Args:
      check: write nothing, and fail if the README has another table.
    """
    text = README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise SystemExit(f"error: {README} lacks {_BEGIN} or {_END}.")
    block = f"{before}{_BEGIN}\n{markdown()}{_END}{after}"
    if check:
        if block != text:
            raise SystemExit(
                "error: README.md's table is not that of benchmarks/results. Write it "
                "with python -m benchmarks.table."
            )
        return
    README.write_text(block)
    draw(_PLOT)
    table = rich.table.Table("", "ours", "the other", "ratio", title="CPU")
    other = rich.table.Table("", "ours", "the other", "ratio", title="GPU")
    for line in LINES:
        for one, backend in ((table, "cpu"), (other, "gpu")):
            if row := newest(line, backend):
                one.add_row(f"{line.heading}: {line.text}", *line.cells(row))
    for one in (table, other):
        if one.row_count:
            Console().print(one)


def newest(line: Line, backend: str, folder: Path = rows.RESULTS) -> Row | None:
    """The last row that a line tells of, if there is any."""
    wanted = line.where | {"backend": backend}
    for row in reversed(rows.read(line.name, folder)):
        if all(row[name] == value for name, value in wanted.items()):
            return row
    return None


def markdown(folder: Path = rows.RESULTS) -> str:
    """The README's block."""
    text = "".join(_section(heading, folder) for heading in _HEADINGS)
    told = [
        f"{'CPU' if backend == 'cpu' else 'GPU'}: {_machine(row)}."
        for backend in ("cpu", "gpu")
        if (row := _last(backend, folder))
    ]
    if not told:
        return "\nNothing is measured yet: `make bench`.\n"
    text += (
        f"\n{' '.join(told)} What is empty is not measured; `make bench` fills it.\n"
    )
    if any(_points(backend, folder) for backend in ("cpu", "gpu")):
        text += "\n![Seconds of ours over those of PyTorch, with the spread]"
        text += "(docs/benchmarks.png)\n"
    return text


def draw(path: Path, folder: Path = rows.RESULTS) -> None:
    """The ratios of ours to PyTorch, with their spread."""
    import matplotlib.pyplot as plt

    found = {backend: _points(backend, folder) for backend in ("cpu", "gpu")}
    drawn = [line for points in found.values() for line, _ in points]
    labels = [f"{line.heading}, {line.text}" for line in LINES if line in drawn]
    if not labels:
        return
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.36 * len(labels)))
    looks = {"cpu": ("#0072b2", "o", "CPU", 7), "gpu": ("#d55e00", "s", "GPU", -15)}
    for backend, points in found.items():
        if not points:
            continue
        colour, marker, label, beside = looks[backend]
        places = [labels.index(f"{line.heading}, {line.text}") for line, _ in points]
        ratios = [
            [float(row[f"ratio{end}"]) for end in ("", "_least", "_most")]
            for _, row in points
        ]
        middle, least, most = zip(*ratios, strict=True)
        errors = (
            [m - low for m, low in zip(middle, least, strict=True)],
            [high - m for m, high in zip(middle, most, strict=True)],
        )
        axes.errorbar(
            middle,
            places,
            xerr=errors,
            fmt=marker,
            color=colour,
            capsize=3,
            label=label,
        )
        for x, y in zip(middle, places, strict=True):
            axes.annotate(
                f"{x:.2f}",
                (x, y),
                (0, beside),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontsize=9,
            )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.48), max(high, 2.1))
    axes.set_ylim(len(labels) - 0.3, -0.7)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("time, ours / PyTorch: left of 1 we are faster")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _section(heading: str, folder: Path) -> str:
    ours, other, ratio = _HEADINGS[heading]
    lines = [line for line in LINES if line.heading == heading]
    measured = [
        (line, found)
        for line in lines
        if any(found := [newest(line, backend, folder) for backend in ("cpu", "gpu")])
    ]
    if not measured:
        return ""
    text = f"\n| {heading} | CPU: {ours} | {other} | {ratio} "
    text += f"| GPU: {ours} | {other} | {ratio} |\n|---|---|---|---|---|---|---|\n"
    for line, found in measured:
        cells = [line.cells(row) if row else ("", "", "") for row in found]
        text += f"| {line.text} | {' | '.join(itertools.chain(*cells))} |\n"
    return text


def _points(backend: str, folder: Path) -> list[tuple[Line, Row]]:
    """Lines that compare times of ours and PyTorch, with their rows."""
    return [
        (line, row)
        for line in LINES
        if line.heading in _TIMES and (row := newest(line, backend, folder))
    ]


def _last(backend: str, folder: Path) -> Row | None:
    """The newest row of a step on a CPU or a GPU."""
    found = [row for row in rows.read("step", folder) if row["backend"] == backend]
    return found[-1] if found else None


def _machine(row: Row) -> str:
    return (
        f"{row['device']}, {row['cores']} cores, Python {row['python']}, jax "
        f"{row['jax']}, torch {row['torch']}, {row['date']}, commit `{row['commit']}`, "
        f"{float(row['busy'] or 'nan'):.0%} of the cores with other work"
    )


def _times(row: Row) -> tuple[str, str, str]:
    return (
        f"{_short(row['ours_ms'])} ms",
        f"{_short(row['torch_ms'])} ms",
        _ratio(row),
    )


def _memory(row: Row) -> tuple[str, str, str]:
    ours, other = row["ours_peak_mb"], row["torch_peak_mb"]
    if not (ours and other):
        return "", "", ""
    ratio = float(ours) / float(other)
    return f"{_short(ours)} MB", f"{_short(other)} MB", f"{ratio:.2f}"


def _shares(row: Row) -> tuple[str, str, str]:
    shares = [f"{float(row[f'{side}_share']):.0%}" for side in ("ours", "torch")]
    return (*shares, "")


def _attention(row: Row) -> tuple[str, str, str]:
    return (
        f"{_short(row['with_ms'])} ms",
        f"{_short(row['without_ms'])} ms",
        _ratio(row),
    )


def _run(row: Row) -> tuple[str, str, str]:
    return f"{_short(row['cold_s'])} s", f"{_short(row['warm_s'])} s", _ratio(row)


def _ratio(row: Row) -> str:
    middle, least, most = (float(row[f"ratio{end}"]) for end in ("", "_least", "_most"))
    return f"{middle:.2f} ({least:.2f} to {most:.2f})"


def _short(number: str) -> str:
    value = float(number)
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _lines() -> list[Line]:
    """All lines, those for a GPU too."""
    lines = []
    for heading, what, cells in (
        ("training step", "step", _times),
        ("forward pass", "forward", _times),
        ("peak memory of a step", "step", _memory),
        ("share of a matrix product's FLOP/s", "step", _shares),
    ):
        for network, *case in _CASES if heading in _TIMES else _MAIN_CASES:
            where = dict(zip(("preset", "batch_size", "precision"), case, strict=True))
            where |= {"network": network, "what": what}
            text = f"{network}, {case[0]}, {case[1]} clips, {case[2]}"
            lines.append(Line(text, "step", where, cells, heading))
    for preset, batch, precision in (("small", "8", "fp32"), ("paper", "32", "bf16")):
        for side in ("ours", "torch"):
            where = {"preset": preset, "batch_size": batch, "precision": precision}
            where |= {"side": side, "what": "step"}
            name = "meranet_jax" if side == "ours" else "PyTorch"
            text = f"{name}, {preset}, {batch} clips, {precision}"
            lines.append(Line(text, "attention", where, _attention, _COST))
    for preset, epochs, flags, text in (
        ("small", "1", "", "small, 1 epoch"),
        ("paper", "5", "--protocol=loso", "paper, 5 epochs, LOSO of 24 subjects"),
    ):
        where = {"preset": preset, "epochs": epochs, "flags": flags}
        lines.append(Line(text, "run", where, _run, _RUN))
    return lines


_COST = "step with attention"
_RUN = "whole run of train.py"
_HEADINGS = {
    name: ("ours", "PyTorch", "ours / PyTorch")
    for name in ("training step", "forward pass", "peak memory of a step")
} | {
    "share of a matrix product's FLOP/s": ("ours", "PyTorch", ""),
    _COST: ("with", "without", "with / without"),
    _RUN: ("nothing compiled", "compiled before", "ratio"),
}
_TIMES = ("training step", "forward pass")
_MAIN_CASES = (
    ("MERANet", "small", "8", "fp32"),
    ("MERANet", "paper", "2", "fp32"),
    ("MERANet", "paper", "32", "bf16"),
)
_CASES = (
    *_MAIN_CASES,
    ("MERANet", "paper", "8", "fp32"),
    ("MERANet", "paper", "8", "tf32"),
    ("3D ResNet", "small", "8", "fp32"),
    ("3D ResNet", "paper", "32", "bf16"),
)
LINES = _lines()

if __name__ == "__main__":
    sys.exit(tyro.cli(main, use_underscores=True))
