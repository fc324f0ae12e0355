"""Class sets: the classes of a run and the emotions that belong to each."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from meranet_jax.errors import UserError

# Class name -> emotions that belong to the class.
ClassSet = dict[str, tuple[str, ...]]

# MEGC 2019 (See et al.): happiness is positive, surprise is a class of its own,
# "others" is excluded and all remaining emotions are negative. CAS(ME)^2 already has
# labels named positive and negative. "neutral" names clips without an expression. A
# label of two emotions, "negative+repression", belongs to the class of both.
_POSITIVE = ("happiness", "positive")
_EXCLUDED = ("others", "other", "neutral")


def resolve(
    emotions: Collection[str], *, text: str, paper: tuple[str, ...] | None
) -> ClassSet:
    """Returns the class set that the value of ``--classes`` describes.

    Args:
      emotions: all emotions of the data sets.
      text: the value of ``--classes``: ``paper``; ``all``; ``megc3`` (negative,
        positive, surprise); emotions separated by commas; or the path of a JSON file
        with ``{"class": ["emotion", ...]}``.
      paper: the classes that the paper uses for these data sets; None if it uses none,
        or different ones for each.

    Returns:
      At least two classes. No emotion belongs to more than one.

    Raises:
      UserError: if ``text`` does not describe a class set, or no clip belongs to one of
        the classes.
    """
    if text == "paper":
        if paper is None:
            raise UserError(
                "--classes=paper: the paper defines no classes for these data sets. "
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
                f"--classes={text}: name at least two different emotions, separated by "
                "commas, or choose paper, all, megc3 or a mapping file (.json)."
            )
    for name, members in classes.items():
        if not any(member in emotions for member in members):
            raise UserError(
                f"--classes={text}: no clip is labelled "
                f"{' or '.join(members) or name}; the labels are "
                f"{', '.join(sorted(emotions))}."
            )
    return classes


def _megc3(emotions: Collection[str]) -> ClassSet:
    members: dict[str, list[str]] = {"negative": [], "positive": [], "surprise": []}
    for emotion in sorted(emotions):
        classes = {_megc3_class(part) for part in emotion.split("+")}
        # Labels whose emotions belong to different classes are excluded.
        if len(classes) == 1 and (name := classes.pop()) is not None:
            members[name].append(emotion)
    return {
        "negative": tuple(members["negative"]),
        "positive": tuple(members["positive"]) or _POSITIVE,
        "surprise": tuple(members["surprise"]) or ("surprise",),
    }


def _megc3_class(emotion: str) -> str | None:
    """Returns the class of one emotion; None if it is excluded."""
    if emotion in _EXCLUDED:
        return None
    if emotion in _POSITIVE:
        return "positive"
    return "surprise" if emotion == "surprise" else "negative"


def _read(path: Path) -> ClassSet:
    """Reads a class set from a JSON file.

    Raises:
      UserError: if the file cannot be read or does not contain a class set.
    """
    try:
        mapping = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--classes={path} cannot be read: {error}.") from error
    return parse(mapping, str(path))


def parse(mapping: object, source: str) -> ClassSet:
    """Converts the content of a JSON file to a class set.

    Args:
      mapping: the parsed JSON.
      source: where it is from, for error messages.

    Raises:
      UserError: if ``mapping`` is not a class set.
    """
    form = 'Expected {"class": ["emotion", ...], ...} with each emotion in one class.'
    if not isinstance(mapping, Mapping) or len(mapping) < 2:
        raise UserError(f"{source} does not map at least two classes. {form}")
    classes, owner = {}, {}
    for name, members in mapping.items():
        if not isinstance(members, list) or not members or not name:
            raise UserError(f"{source}: class {name!r} has {members!r}. {form}")
        for member in members:
            if not isinstance(member, str):
                raise UserError(f"{source}: class {name!r} has {member!r}. {form}")
            if member in owner:
                raise UserError(
                    f"{source}: {member!r} is in {owner[member]!r} and in {name!r}. "
                    f"{form}"
                )
            owner[member] = name
        classes[name] = tuple(members)
    return classes
