"""Formats the report of an evaluation at a lower frame rate as text."""

import shlex

from meranet_jax.evaluation import comparison
from meranet_jax.runs import run_text
from meranet_jax.runs.formatters import count, interval_text
from meranet_jax.runs.reader import Run

# With fewer distinct frames, recognition is doubtful.
_FEW = 8

_METHOD = """\
The frames of each test clip are replaced by those that a recording at the lower rate
would have shown: of the frames of the clip, those nearest to the instants at which it
has a frame, and at each time the nearest of these. Where it begins decides which frames
these are (phase). Frames beyond the clip are not in the records: at its ends a frame of
it is shown in their place. The frames are as sharp as they were recorded; a slower
camera may expose them longer."""

_ONSET = """\
Records have no frames around the onset: the frame at the onset is also one of the
slower recording, which determines the phase."""


def describe(report: dict) -> str:
    """Formats the results for a terminal.

    Args:
      report: the result of ``lower_rate.evaluate``.
    """
    lines = [_describe_evaluation(report)]
    for name, found in report["metrics"].items():
        lines.append(
            f"{comparison.NAMES[name]:8}  {interval_text(found['full'])} at the full "
            f"rate, {interval_text(found['lower'])} at {report['rate']:g} Hz, "
            f"difference {_signed(found['difference'])}"
        )
    return "\n".join(lines + _frames(report))


def _signed(difference: dict) -> str:
    """Formats a difference with its interval."""
    if difference["interval"] is None:
        return f"{difference['mean']:+.3f}"
    low, high = difference["interval"]
    return f"{difference['mean']:+.3f} ({low:+.3f} to {high:+.3f})"


def _describe_evaluation(report: dict) -> str:
    rates = "; ".join(
        f"{name} {', '.join(f'{rate:g} Hz' for rate in rates) or 'not known for all'}"
        for name, rates in report["frame_rates"].items()
    )
    return (
        f"{report['model']} at {report['rate']:g} Hz, recorded at: {rates}. "
        f"{count(report['clips'], 'test clip')} of "
        f"{count(report['subjects'], 'subject')}, {count(len(report['seeds']), 'seed')}"
        f", protocol {report['protocol']}, {count(report['folds'], 'fold')}; each "
        f"fold predicts its own test part. Mean of {count(report['phases'], 'phase')} "
        "of the sampling, 95 % intervals over subjects."
    )


def _frames(report: dict) -> list[str]:
    """Describes which frames the recogniser sees at the lower rate."""
    lines = []
    if (found := report["distinct_frames"]) is not None:
        full, low = found["full"], found["lower"]
        lines.append(
            f"distinct frames: {low['mean']:.1f} of {report['frames']} "
            f"({low['least']} to {low['most']}); {full['mean']:.1f} at the full rate"
        )
        if low["mean"] < _FEW:
            lines.append(
                f"note: with fewer than {_FEW} distinct frames little of the motion is "
                "left to recognise"
            )
    if (shift := report["apex_shift"]) is not None:
        lines.append(
            f"the frame nearest to the apex is {1000 * shift['mean']:.1f} ms from it "
            f"on average, at most {1000 * shift['most']:.1f} ms"
        )
    return lines


def to_markdown(run: Run, report: dict) -> str:
    """Formats a report as ``report.md``.

    Args:
      run: the run whose weights were tested.
      report: the result of ``lower_rate.evaluate``.
    """
    rate = report["rate"]
    lines = [
        f"# {report['model']} on {', '.join(report['datasets'])} at {rate:g} Hz",
        "",
        _describe_evaluation(report),
        "",
        f"{run_text.describe_recogniser(run.config, run.data)} Run: "
        f"`{run.path.name}`. Tested weights: {report['selection']}.",
        "",
        _METHOD,
        *(["", _ONSET] if report["phases"] == 1 else []),
        "",
        f"| metric | full rate | {rate:g} Hz | difference | by phase |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["metrics"].items():
        values = ", ".join(f"{value:.3f}" for value in found["lower"]["by_phase"])
        lines.append(
            f"| {comparison.NAMES[name]} | {interval_text(found['full'])} | "
            f"{interval_text(found['lower'])} | "
            f"{_signed(found['difference'])} | {values} |"
        )
    lines += ["", *(f"- {line}" for line in _frames(report))]
    start = report["start"]
    lines += [
        "",
        "## Reproducing this evaluation",
        "",
        f"- {start['date']}: `python {shlex.join(start['command'][1:])}`",
        f"  commit {start['commit'] or 'unknown'}, Python {start['python']}, "
        + ", ".join(f"{n} {v}" for n, v in start["packages"].items()),
        "",
    ]
    return "\n".join(lines)
