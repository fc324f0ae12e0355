"""Recognisers that can be chosen: the weights of the package, and runs in a folder."""

import asyncio
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meranet_jax import weights_file
from meranet_jax.errors import UserError
from meranet_jax.web import run_facts
from meranet_jax.web.run_files import RunFiles, text

# The weights of the package, which predict.py uses without --run
_SHIPPED_FILE = Path(__file__).parents[1] / "pretrained" / "onset_apex_flow.npz"

# Identity of the weights that ship with the package
SHIPPED = "shipped"
_SHIPPED_TITLE = "Weights of the package (generated faces)"

# Levels of folders below the one that was given, and number of runs that are listed
_DEEPEST, _MOST = 3, 500


@dataclasses.dataclass(frozen=True)
class Choice:
    """A recogniser that can be chosen.

    Attributes:
      identity: by which the page names it; the page knows no path.
      title: for people.
      path: of the run folder; None for the weights of the package.
      facts: what lists show of it; see ``run_facts.row``.
    """

    identity: str
    title: str
    path: Path | None
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found below a folder.

    Attributes:
      choices: all recognisers by their identities.
      refused: name of each run or folder that cannot be chosen, and the reason.
    """

    choices: dict[str, Choice]
    refused: list[tuple[str, str]]


class Catalogue:
    """The recognisers, as they were when they were looked for last.

    Attributes:
      found: of the last search.
    """

    def __init__(self, folder: Path | None):
        """Looks for recognisers.

        Args:
          folder: below which runs are looked for; None for none.
        """
        self._folder = folder
        self._lock = asyncio.Lock()
        self.found = find(folder)

    async def refresh(self) -> None:
        """Looks for recognisers again, since runs may have finished meanwhile."""
        async with self._lock:
            self.found = await asyncio.to_thread(find, self._folder)

    @property
    def choices(self) -> dict[str, Choice]:
        """All recognisers by their identities."""
        return self.found.choices


def find(folder: Path | None) -> Found:
    """Looks for recognisers.

    Args:
      folder: below which runs are looked for; None for none.
    """
    found = Found({SHIPPED: _shipped()}, [])
    if folder is None:
        return found
    for path in _runs(folder, found.refused):
        name = path.relative_to(folder).as_posix()
        # The identity stays that of the run as long as its folder has this name.
        identity = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        title = text(name if name != "." else path.name)
        if len(found.choices) + len(found.refused) > _MOST:
            found.refused.append(
                (
                    title,
                    f"It and the runs after it are not listed: there are more than "
                    f"{_MOST}. Give a folder of fewer runs with --runs.",
                )
            )
            break
        try:
            facts = run_facts.row(RunFiles(path))
        except UserError as error:
            found.refused.append((title, str(error)))
        else:
            found.choices[identity] = Choice(identity, title, path, facts)
    return found


def _runs(folder: Path, refused: list[tuple[str, str]]) -> Iterator[Path]:
    """Yields the runs below a folder, and reports folders that are not searched."""

    def name(path: str | Path) -> str:
        return text(Path(path).relative_to(folder).as_posix())

    def failed(error: OSError) -> None:
        reason = f"The folder cannot be read: {error.strerror}."
        refused.append((name(error.filename), reason))

    for path, folders, names in os.walk(folder, onerror=failed):
        here = Path(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # The folder of another evaluation of a run has a report, but no settings.
        if "config.json" in names and {"split.json", "report.json"} & set(names):
            folders.clear()
            yield here
            continue
        for each in [each for each in folders if (here / each).is_symlink()]:
            refused.append((name(here / each), "It is a link, which is not followed."))
            folders.remove(each)
        if len(here.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()


@functools.cache
def _shipped() -> Choice:
    try:
        _, metadata = weights_file.load(_SHIPPED_FILE)
    except UserError:  # the page says so when they are used
        return Choice(SHIPPED, _SHIPPED_TITLE, None, {})
    facts = {
        "datasets": ", ".join(metadata.datasets or ()),
        "model": metadata.model,
        "input": metadata.input,
    }
    return Choice(SHIPPED, _SHIPPED_TITLE, None, facts)


def shipped_calibration() -> dict[str, Any] | None:
    """Returns the calibration of the weights of the package; None if there is none."""
    file = _SHIPPED_FILE.with_suffix(".calibration.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def shipped_card() -> str:
    """Describes the weights of the package.

    Raises:
      UserError: if the installation has no such weights.
    """
    _, metadata = weights_file.load(_SHIPPED_FILE)
    lines = [
        f"Network: {metadata.model}, input {metadata.input}",
        f"Trained on: {', '.join(metadata.datasets or ())}",
        f"Classes: {', '.join(metadata.classes)}",
        f"Origin: {metadata.origin}",
        "",
        "They were trained on generated faces only, and never tested on recordings of "
        "people. Most candidates in recordings of people are not micro-expressions.",
    ]
    return "\n".join(lines) + "\n"


def shipped_report() -> str:
    """Describes the weights of the package and their calibration.

    Raises:
      UserError: if the installation has no such weights.
    """
    card = f"Weights of the package\n\n{shipped_card()}"
    measured = shipped_calibration()
    if measured is None:
        return card
    numbers = measured["calibration"]
    return (
        f"{card}\nCalibration ({measured['made_from']}): {numbers['clips']} clips of "
        f"{numbers['subjects']} generated faces. The plausible classes had the "
        f"class of {numbers['coverage']:.0%} of the clips of faces that were left "
        f"out; {numbers['set_size']:.1f} classes are plausible on average.\n"
        f"{measured['limits']}\n"
    )
