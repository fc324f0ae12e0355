"""Formats what a start prints before training: its plan and its duration."""

from collections.abc import Sequence

from meranet_jax.data.splits import Job
from meranet_jax.runs import composite_text, run_text, window_text
from meranet_jax.runs.formatters import count
from meranet_jax.runs.reader import Run


def describe_plan(run: Run, jobs: Sequence[Job], missing: Sequence[Job]) -> str:
    """Describes what a start is about to train, and on which clips and devices.

    Args:
      run: the run.
      jobs: the folds of this shard, or all folds.
      missing: those that are not finished.
    """
    config, data, start = run.config, run.data, run.starts[-1]
    folds = len({name for _, _, name in run.folds})
    lines = [
        ", ".join(
            [
                config.title,
                f"preset {config.preset}",
                *([config.settings.precision] if "precision" in config.flags() else []),
                f"on {run_text.describe_devices(start)}",
            ]
        ),
        f"{config.dataset}: {data['clips']} clips of "
        f"{count(data['subjects'], 'subject')}: {run_text.class_list(data)}",
        "protocol: "
        + run_text.protocol_text(
            config.protocol,
            folds,
            config.split,
            config.datasets,
            config.tested_datasets,
        ),
    ]
    if run.origin is not None:
        lines.append(run_text.describe_origin(run.origin))
    if len(jobs) == 1:
        sizes = [f"{name} {len(part)}" for name, part in jobs[0].fold.parts.items()]
        lines.append(f"{', '.join(sizes)} clips")
    else:
        lines.append(f"{len(jobs)} folds to train and test")
    if len(missing) < len(jobs):
        lines.append(f"{len(jobs) - len(missing)} of them are finished already")
    lines += window_text.lines(config, data)
    lines += composite_text.megc2019_lines(data)
    lines += [f"left out: {n} clips ({why})" for why, n in data["left_out"].items()]
    lines += [f"note: {text}" for text in data["lacking"]]
    lines += _other_convolutions(run.starts)
    return "\n".join(lines)


def _other_convolutions(starts: Sequence[dict]) -> list[str]:
    """Returns a line if the last start computes convolutions unlike an earlier one."""
    # Before this was saved, a CPU had one form only.
    *earlier, now = (
        start.get("convolutions", "planes" if start["device_kind"] == "cpu" else None)
        for start in starts
    )
    others = sorted({one for one in earlier if one} - {now})
    if not others or now is None:
        return []
    return [
        f"note: earlier starts of this run computed convolutions as {others[0]}, so "
        "the last digits may differ from those of a run that was not stopped"
    ]


def describe_duration(seconds: float) -> str:
    """Describes how long a run takes on a CPU, with a hint."""
    minutes = seconds / 60
    if minutes < 1:
        return "This will take less than a minute on this CPU."
    if minutes < 100:
        duration = count(round(minutes), "minute")
    else:
        duration = f"{minutes / 60:.1f} hours"
    return (
        f"This will take about {duration} on this CPU. --preset=small is intended for "
        "machines without an accelerator."
    )
