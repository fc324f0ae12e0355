"""Recognisers that can be chosen: the weights of the package, and runs in a folder."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from meranet_jax import weights_file

# The weights of the package, which predict.py uses without --run
_SHIPPED_FILE = Path(__file__).parents[1] / "pretrained" / "onset_apex_flow.npz"

# Identity of the weights that ship with the package
SHIPPED = "shipped"

# Levels of folders below the one that was given, and number of runs that are listed
_DEEPEST, _MOST = 3, 500


@dataclasses.dataclass(frozen=True)
class Choice:
    """A recogniser that can be chosen.

    Attributes:
      identity: by which the page names it; the page knows no path.
      title: for people.
      path: of the run folder; None for the weights of the package.
      report: text about it, a file; None if it has none.
    """

    identity: str
    title: str
    path: Path | None
    report: Path | None


def choices(folder: Path | None) -> dict[str, Choice]:
    """Returns all recognisers by their identities.

    Args:
      folder: below which runs are looked for; None for none.
    """
    found = [Choice(SHIPPED, "Weights of the package (generated faces)", None, None)]
    for path in _runs(folder) if folder is not None else ():
        assert folder is not None
        name = path.relative_to(folder).as_posix()
        identity = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        report = path / "report.md"
        title = name if name != "." else path.name
        found.append(
            Choice(identity, title, path, report if report.is_file() else None)
        )
        if len(found) > _MOST:
            break
    return {choice.identity: choice for choice in found}


def _runs(folder: Path) -> Iterator[Path]:
    """Yields the finished runs below a folder; links are not followed."""
    for path, folders, names in os.walk(folder):
        here = Path(path)
        if {"config.json", "report.json"} <= set(names):
            folders.clear()
            yield here
        elif len(here.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def shipped_report() -> str:
    """Describes the weights of the package and their calibration.

    Raises:
      UserError: if the installation has no such weights.
    """
    _, metadata = weights_file.load(_SHIPPED_FILE)
    lines = [
        "Weights of the package",
        "",
        f"Network: {metadata.model}, input {metadata.input}",
        f"Trained on: {', '.join(metadata.datasets or ())}",
        f"Classes: {', '.join(metadata.classes)}",
        f"Origin: {metadata.origin}",
        "",
        "They were trained on generated faces only, and never tested on recordings of "
        "people. Most candidates in recordings of people are not micro-expressions.",
    ]
    file = _SHIPPED_FILE.with_suffix(".calibration.json")
    if file.is_file():
        measured = json.loads(file.read_text(encoding="utf-8"))
        numbers = measured["calibration"]
        lines += [
            "",
            f"Calibration ({measured['made_from']}): {numbers['clips']} clips of "
            f"{numbers['subjects']} generated faces. The plausible classes had the "
            f"class of {numbers['coverage']:.0%} of the clips of faces that were left "
            f"out; {numbers['set_size']:.1f} classes are plausible on average.",
            measured["limits"],
        ]
    return "\n".join(lines) + "\n"
