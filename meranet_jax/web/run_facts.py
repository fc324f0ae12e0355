"""What the page shows of a run: checked values of its files, which may be damaged.

Files are written by this package, but may come from elsewhere. Only values of the
expected types are passed on: finite numbers, counts, and text of a limited length.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from meranet_jax.errors import UserError
from meranet_jax.evaluation import summary
from meranet_jax.web.run_files import FIGURES, RunFiles, count, number, text

# Metrics of lists
_LISTED = ("accuracy", "uf1", "uar")

# Names and values that a table has at most
_MOST_CLASSES, _MOST_SETTINGS = 64, 300


def row(files: RunFiles) -> dict[str, Any]:
    """Returns what lists show of a run.

    Args:
      files: of the run.

    Raises:
      UserError: if it cannot be chosen, with the reason.
    """
    if not files.has("report.json"):
        raise UserError(_unfinished(files))
    if not files.has("split.json"):
        raise UserError("There is no split.json: the folder is not complete.")
    return _row(files.config(), files.report())


def _unfinished(files: RunFiles) -> str:
    try:
        folds = sum(len(folds) for folds in files.split()["seeds"].values())
    except (UserError, KeyError, TypeError, AttributeError):
        return "It is not finished: there is no report.json."
    return (
        f"It is not finished: {files.finished_folds()} of {folds} "
        f"{'fold is' if folds == 1 else 'folds are'}. If it is not running, start its "
        "command again to resume it."
    )


def _row(config: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    settings, starts = config.get("config"), config.get("starts")
    if not isinstance(settings, dict):
        raise UserError("config.json is damaged: it has no settings.")
    found = {name: _metric(report, name) for name in _LISTED}
    clips, subjects = count(report.get("clips")), count(report.get("subjects"))
    if None in (clips, subjects) or found["accuracy"]["value"] is None:
        raise UserError(
            "report.json is damaged: it has no numbers of clips and subjects, or no "
            "accuracy."
        )
    started = ""
    if isinstance(starts, list) and starts and isinstance(starts[-1], dict):
        started = text(starts[-1].get("date") or "")
    names = report.get("datasets")
    return {
        "datasets": ", ".join(map(text, names)) if isinstance(names, list) else "",
        "model": text(settings.get("model") or ""),
        "input": text(settings.get("input") or ""),
        "protocol": text(report.get("protocol") or ""),
        "seeds": _length(report.get("seeds")),
        "folds": count(report.get("folds")),
        "clips": clips,
        "subjects": subjects,
        "started": started,
        "metrics": found,
    }


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _metric(report: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        found = report["metrics"][name]
        value, sd, interval = found["mean"], found["sd"], found["interval"]
    except (KeyError, TypeError):
        value = sd = interval = None
    bounds = None
    if isinstance(interval, list) and len(interval) == 2:
        bounds = [number(bound) for bound in interval]
    return {
        "title": summary.NAMES[name],
        "value": number(value),
        "sd": number(sd),
        "interval": None if bounds is None or None in bounds else bounds,
    }


def details(files: RunFiles) -> dict[str, Any]:
    """Returns all that the page shows of a run.

    A part that is missing or damaged is None, and ``problems`` says why.

    Args:
      files: of the run.

    Raises:
      UserError: if the settings or the report cannot be read.
    """
    config, report = files.config(), files.report()
    problems: list[str] = []

    def part(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except UserError as error:
            problems.append(str(error))
            return None

    facts = _row(config, report)
    return {
        "facts": facts,
        "limits": _limits(report),
        "metrics": [_metric(report, name) for name in summary.NAMES],
        "classes": part(lambda: classes(report)),
        "pictures": [
            {"name": name, "title": FIGURES[name]} for name in files.pictures()
        ],
        "report": part(files.report_text),
        "settings": _settings(config["config"]),
        "calibration": part(lambda: _calibration_of(files))
        if files.has("calibration.json")
        else None,
        "problems": problems,
    }


def _limits(report: dict[str, Any]) -> list[str]:
    """Returns sentences that belong to each answer of a run."""
    limits = [
        "A class is that of the clips which a candidate resembles. It does not say "
        "what a person feels."
    ]
    names = report.get("datasets")
    if isinstance(names, list) and names:
        if all(text(name).startswith("synthetic") for name in names):
            limits.append(
                "It was trained on generated faces only, and never tested on "
                "recordings of people."
            )
    if report.get("protocol") == "holdout":
        limits.append(
            "Test clips show people of the training clips, since the protocol is not "
            "subject-disjoint. On new people it is less accurate."
        )
    return limits


def classes(report: dict[str, Any]) -> dict[str, Any]:
    """Returns the confusion matrix of all seeds, and precision, recall and F1 of it.

    Args:
      report: the content of ``report.json``.

    Raises:
      UserError: if it is damaged.
    """
    damaged = UserError("report.json is damaged: its confusion matrix is not complete.")
    try:
        names = list(report["pooled"]["by_class"])
        rows = report["pooled"]["confusion"]
        lengths = [len(rows), *map(len, rows)]
    except (KeyError, TypeError):
        raise damaged from None
    if len(names) > _MOST_CLASSES:
        raise UserError(f"There are more than {_MOST_CLASSES} classes to show.")
    if not names or set(lengths) != {len(names)}:
        raise damaged
    matrix: list[list[int]] = []
    for values in rows:
        counts = [count(value) for value in values]
        if None in counts:
            raise damaged
        matrix.append([one for one in counts if one is not None])
    by_class = []
    for index, name in enumerate(names):
        correct = matrix[index][index]
        true, answered = sum(matrix[index]), sum(line[index] for line in matrix)
        by_class.append(
            {
                "name": text(name),
                "predictions": true,
                "precision": correct / answered if answered else None,
                "recall": correct / true if true else None,
                "f1": 2 * correct / (true + answered) if true + answered else None,
            }
        )
    return {"by_class": by_class, "confusion": matrix}


def _settings(settings: dict[str, Any]) -> list[list[str]]:
    """Returns names and values of settings; None is one that was not given."""
    given = {name: value for name, value in settings.items() if value not in (None, [])}
    shown = [[text(name), text(given[name])] for name in list(given)[:_MOST_SETTINGS]]
    if len(given) > _MOST_SETTINGS:
        shown.append(["…", f"{len(given) - _MOST_SETTINGS} more"])
    return shown


def _calibration_of(files: RunFiles) -> dict[str, Any]:
    found = calibration(files.calibration())
    digest = hashlib.blake2b(files.predictions().read_bytes(), digest_size=16)
    if found.pop("digest") != digest.hexdigest():
        raise UserError(
            "calibration.json was made from other predictions than those of the run. "
            "Make it again by eval.py --run=RUN --calibrate."
        )
    return found


def calibration(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns what the page shows of a calibration, with ``digest``.

    Args:
      saved: the content of ``calibration.json``.

    Raises:
      UserError: if it is damaged.
    """
    try:
        values, ece = saved["calibration"], saved["reliability"]["ece"]
        found = {
            "made_from": text(saved["made_from"]),
            "limits": text(saved["limits"]),
            "digest": saved["predictions"]["blake2b"],
            "people_needed": count(saved["people_needed"]),
            "classes": _length(values["classes"]),
            "new_people": values["new_people"] is True,
            "clips": count(values["clips"]),
            "subjects": count(values["subjects"]),
            "coverage": number(values["coverage"]),
            "set_size": number(values["set_size"]),
            "temperature": number(values["temperature"]),
            "miss": number(values["miss"]),
            "ece": [number(ece["before"]), number(ece["after"])],
        }
    except (KeyError, TypeError):
        raise UserError("calibration.json is damaged: a value is missing.") from None
    if None in [found[name] for name in ("miss", "clips", "subjects", "classes")]:
        raise UserError("calibration.json is damaged: a value is no number.")
    return found
