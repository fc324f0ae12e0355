"""Compares two runs for the page, by the functions of ``eval.py --compare``."""

from pathlib import Path
from typing import Any

from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.web.run_files import RunFiles, number

# Numbers of subjects, and of elements of the confusion matrices of all seeds: the
# bootstrap needs memory for 2,000 times either, and for their product
_MOST_SUBJECTS, _MOST_ELEMENTS = 5_000, 2_000


def compare(first: RunFiles, second: RunFiles) -> dict[str, Any]:
    """Returns the paired differences of two runs, first - second.

    Args:
      first: files of run A.
      second: files of run B.

    Returns:
      ``clips``, ``subjects``, ``metrics`` and ``mcnemar`` of ``comparison.compare``,
      the metrics as a list with ``title`` and ``winner``: "A", "B", "" for no
      significant difference; None if it is unknown, since there is one seed or subject.

    Raises:
      UserError: if the runs cannot be compared, with the reason.
    """
    both = [_read(files, name) for files, name in ((first, "A"), (second, "B"))]
    for one, name in zip(both, "AB", strict=True):
        _check_size(one, name)
    found = comparison.compare(*both)
    rows = []
    for key, row in found["metrics"].items():
        known = None not in (row["interval"], row["seeds_interval"])
        winner = {1: "A", -1: "B", 0: ""}[comparison.significant_winner(row)]
        rows.append(
            {
                "title": comparison.NAMES[key],
                "first": number(row["first"]),
                "second": number(row["second"]),
                "difference": number(row["difference"]),
                "interval": row["interval"],
                "seeds_interval": row["seeds_interval"],
                "winner": winner if known else None,
            }
        )
    return {**found, "metrics": rows}


def _read(files: RunFiles, name: str) -> Predictions:
    path: Path | None = None
    try:
        path = files.predictions()
        return predictions.read(path)
    except UserError as error:
        reason = str(error)
        if path is not None:  # the page knows no folder
            reason = reason.replace(str(path), path.name)
        raise UserError(f"Run {name}: {reason}") from None


def _check_size(predicted: Predictions, name: str) -> None:
    subjects, seeds = (
        len(set(values.tolist())) for values in (predicted.subjects, predicted.seeds)
    )
    elements = seeds * len(predicted.classes) ** 2
    if subjects > _MOST_SUBJECTS or elements > _MOST_ELEMENTS:
        raise UserError(
            f"Run {name} has {subjects} subjects, {seeds} seeds and "
            f"{len(predicted.classes)} classes, which are too many to be compared "
            "here. Compare the runs by eval.py --compare A B."
        )
