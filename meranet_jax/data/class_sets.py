"""Which emotions are told apart, and which of them count as one class."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from meranet_jax.errors import UserError

# A class and the emotions that belong to it.
ClassSet = dict[str, tuple[str, ...]]

# MEGC 2019: happiness is positive, surprise is its own, others are left out and all
# else is negative. Some labels of CAS(ME)^2 are called so already.
_POSITIVE = ("happiness", "positive")
_LEFT_OUT = ("others", "other")


def resolve(
    emotions: Collection[str], *, text: str, paper: tuple[str, ...] | None
) -> ClassSet:
    """The classes that ``--classes`` asks for.

    Args:
      emotions: all that the data sets have.
      text: ``paper``; ``all``; ``megc3`` (negative, positive, surprise); emotions with
        commas between; or the path of a JSON file, ``{"class": ["emotion", ...]}``.
      paper: the paper's classes; None where it has none, or several.

    Returns:
      Emotions by class, at least two classes that share none.

    Raises:
      UserError: if they are none, or an emotion asked for does not exist.
    """
    if text == "paper":
        if paper is None:
            raise UserError(
                "--classes=paper: the paper has no classes that these data sets share. "
                "Choose --classes=megc3, all, a list of emotions or a mapping file."
            )
        classes = {name: (name,) for name in paper}
    elif text == "all":
        classes = {name: (name,) for name in sorted(emotions)}
    elif text == "megc3":
        classes = _megc3(emotions)
    elif text.endswith(".json") or "/" in text:
        classes = _read(Path(text).expanduser())
    else:
        classes = {name.strip(): (name.strip(),) for name in text.split(",")}
        if len(classes) < len(text.split(",")) or len(classes) < 2:
            raise UserError(
                f"--classes={text}: name at least two different emotions with commas "
                "between, or one of paper, all, megc3, or a mapping file (.json)."
            )
    for name, members in classes.items():
        if not any(member in emotions for member in members):
            raise UserError(
                f"--classes={text}: no clip is {' or '.join(members) or name}; they "
                f"are {', '.join(sorted(emotions))}."
            )
    return classes


def _megc3(emotions: Collection[str]) -> ClassSet:
    positive = tuple(e for e in _POSITIVE if e in emotions)
    negative = sorted(set(emotions) - {*_POSITIVE, *_LEFT_OUT, "surprise"})
    return {
        "negative": tuple(negative),
        "positive": positive or _POSITIVE,
        "surprise": ("surprise",),
    }


def _read(path: Path) -> ClassSet:
    """The mapping in a JSON file.

    Raises:
      UserError: if it cannot be read or is none.
    """
    try:
        mapping = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--classes={path} cannot be read: {error}.") from error
    return parse(mapping, str(path))


def parse(mapping: object, where: str) -> ClassSet:
    """A class set from what JSON holds.

    Raises:
      UserError: if it is none; ``where`` names it.
    """
    form = 'Expected {"class": ["emotion", ...], ...}, each emotion once.'
    if not isinstance(mapping, Mapping) or len(mapping) < 2:
        raise UserError(f"{where} does not name two classes. {form}")
    classes, owner = {}, {}
    for name, members in mapping.items():
        if not isinstance(members, list) or not members or not name:
            raise UserError(f"{where}: {name!r} is {members!r}. {form}")
        for member in members:
            if not isinstance(member, str):
                raise UserError(f"{where}: {member!r} in {name!r}. {form}")
            if member in owner:
                of = f" and in {owner[member]!r}"
                raise UserError(f"{where}: {member!r} in {name!r}{of}. {form}")
            owner[member] = name
        classes[name] = tuple(members)
    return classes
