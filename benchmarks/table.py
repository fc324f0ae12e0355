"""Tables and figure of docs/benchmarks.md: ``python -m benchmarks.table``.

They are made from the rows in ``benchmarks/results`` alone. Each cell shows the newest
row that was measured for it; a cell without a row stays empty.
"""

import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import rich.table
import tyro
from rich.console import Console

from benchmarks import rows

_ROOT = Path(__file__).parents[1]
PAGE = _ROOT / "docs" / "benchmarks.md"
_PLOT = _ROOT / "docs" / "benchmarks.png"
_BEGIN, _END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

Row = dict[str, str]


class Comparison(NamedTuple):
    """A line of a table, and the row of measurements that fills it.

    Attributes:
      label: its first cell.
      file: name of the file of rows, without its suffix.
      where: maps a column to the values that it may have in a row of this line.
      cells: maps a row to the cells for ours, for the other, and for the ratio.
      heading: the quantity that is compared, which is the table's heading.
    """

    label: str
    file: str
    where: dict[str, tuple[str, ...]]
    cells: Callable[[Row], tuple[str, str, str]]
    heading: str


def main(check: bool = False) -> None:
    """Write the tables into the page, draw the figure and print the ratios.

    Args:
      check: write nothing, and fail unless the page has the current tables.

    Raises:
      SystemExit: if the page has no markers, or with ``check`` other tables.
    """
    text = PAGE.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise SystemExit(
            f"error: {PAGE} does not contain {_BEGIN} followed by {_END}. Add both "
            "lines where the tables belong."
        )
    block = f"{before}{_BEGIN}\n{markdown()}{_END}{after}"
    if check:
        if block != text:
            raise SystemExit(
                f"error: the tables in {PAGE} differ from benchmarks/results. Update "
                "them with python -m benchmarks.table."
            )
        return
    PAGE.write_text(block)
    draw(_PLOT)
    for backend in ("cpu", "gpu"):
        table = rich.table.Table("", "ours", "other", "ratio", title=backend.upper())
        for line in LINES:
            if row := newest(line, backend):
                table.add_row(f"{line.heading}: {line.label}", *line.cells(row))
        if table.row_count:
            Console().print(table)


def newest(line: Comparison, backend: str, folder: Path = rows.RESULTS) -> Row | None:
    """Returns the last row that was measured for a line, or None.

    Args:
      line: of a table.
      backend: ``cpu`` or ``gpu``.
      folder: of the files of rows.
    """
    wanted = line.where | {"backend": (backend,)}
    for row in reversed(rows.read(line.file, folder)):
        if all(row[name] in values for name, values in wanted.items()):
            return row
    return None


def markdown(folder: Path = rows.RESULTS) -> str:
    """Returns what stands between the page's markers."""
    text = "".join(_section(heading, folder) for heading in _HEADINGS)
    machines = [
        f"{'CPU' if backend == 'cpu' else 'GPU'}: {_machine(row)}."
        for backend in ("cpu", "gpu")
        if (row := _last(backend, folder))
    ]
    if not machines:
        return "\nNothing has been measured yet; `make bench` fills the tables.\n"
    text += (
        f"\n{' '.join(machines)} Empty cells have not been measured; `make bench` "
        "fills them.\n"
    )
    if any(_points(backend, folder) for backend in ("cpu", "gpu")):
        text += "\n![Time of ours divided by the time of PyTorch, with the spread]"
        text += "(benchmarks.png)\n"
    return text


def draw(path: Path, folder: Path = rows.RESULTS) -> None:
    """Draws the ratios of ours to PyTorch with their spread.

    Args:
      path: of the figure. It is not written if there are no rows.
      folder: of the files of rows.
    """
    import matplotlib.pyplot as plt

    found = {backend: _points(backend, folder) for backend in ("cpu", "gpu")}
    drawn = [line for points in found.values() for line, _ in points]
    labels = [f"{line.heading}, {line.label}" for line in LINES if line in drawn]
    if not labels:
        return
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.36 * len(labels)))
    styles = {"cpu": ("#0072b2", "o", "CPU"), "gpu": ("#d55e00", "s", "GPU")}
    on_cpu = [line for line, _ in found["cpu"]]
    for backend, points in found.items():
        if not points:
            continue
        colour, marker, label = styles[backend]
        heights = [labels.index(f"{line.heading}, {line.label}") for line, _ in points]
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
            heights,
            xerr=errors,
            fmt=marker,
            color=colour,
            capsize=3,
            label=label,
        )
        for x, y, (line, row) in zip(middle, heights, points, strict=True):
            # Below the point where another one is in the same place
            offset = -15 if backend == "gpu" and line in on_cpu else 7
            axes.annotate(
                f"{x:.2f}, {_mode(row)}",
                (x, y),
                (0, offset),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontsize=9,
            )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    low, high = axes.get_xlim()
    axes.set_xlim(min(0.85 * low, 0.48), max(1.1 * high, 2.1))
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
        text += f"| {line.label} | {' | '.join(itertools.chain(*cells))} |\n"
    return text


def _points(backend: str, folder: Path) -> list[tuple[Comparison, Row]]:
    """Returns the lines that compare times with PyTorch's, with their rows."""
    return [
        (line, row)
        for line in LINES
        if line.heading in _TIMES and (row := newest(line, backend, folder))
    ]


def _last(backend: str, folder: Path) -> Row | None:
    """Returns the newest row of a step on a CPU or a GPU."""
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
        f"{_short(row['torch_ms'])} ms, {_mode(row)}",
        _ratio(row),
    )


def _mode(row: Row) -> str:
    """Returns the mode of PyTorch, as readers know it."""
    mode = row["torch_mode"]
    return "compiled" if mode == "default" else mode


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


def _lines() -> list[Comparison]:
    """Returns the lines of all tables, including those for a GPU."""
    lines = []
    for heading, what, cells in (
        ("training step", "step", _times),
        ("forward pass", "forward", _times),
        ("peak memory of a step", "step", _memory),
        ("share of a matrix product's FLOP/s", "step", _shares),
    ):
        for case in _CASES if heading in _TIMES else _MAIN_CASES:
            network, preset, clips, precision = case
            label = f"{network}, {preset}, {clips} clips, {precision}"
            columns = ("network", "preset", "batch_size", "precision", "what")
            where = _where(zip(columns, (*case, what), strict=True))
            for suffix, names in _FORMS.items():
                selected = where | {"convolution": names}
                lines.append(
                    Comparison(label + suffix, "step", selected, cells, heading)
                )
    for preset, batch, precision in (("small", "8", "fp32"), ("paper", "16", "bf16")):
        for side in ("ours", "torch"):
            columns = ("preset", "batch_size", "precision", "side", "what")
            values = (preset, batch, precision, side, "step")
            where = _where(zip(columns, values, strict=True))
            name = "meranet_jax" if side == "ours" else "PyTorch"
            label = f"{name}, {preset}, {batch} clips, {precision}"
            lines.append(Comparison(label, "attention", where, _attention, _COST))
    for preset, epochs, flags, label in (
        ("small", "1", "", "small, 1 epoch"),
        ("paper", "5", "--protocol=loso", "paper, 5 epochs, LOSO of 24 subjects"),
    ):
        where = _where({"preset": preset, "epochs": epochs, "flags": flags}.items())
        lines.append(Comparison(label, "run", where, _run, _RUN))
    return lines


def _where(cells: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    return {name: (value,) for name, value in cells}


_COST = "step with attention"
_RUN = "complete run of train.py"
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
    ("MERANet", "paper", "16", "bf16"),
)
_CASES = (
    *_MAIN_CASES,
    ("MERANet", "paper", "8", "fp32"),
    ("MERANet", "paper", "16", "tf32"),
    ("3D ResNet", "small", "8", "fp32"),
    ("3D ResNet", "paper", "16", "bf16"),
)
# Forms of the convolution, by what is added to the label
_FORMS = {"": ("native", "primitive"), ", without the extension": ("planes",)}
LINES = _lines()

if __name__ == "__main__":
    sys.exit(tyro.cli(main, use_underscores=True))
