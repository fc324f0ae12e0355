"""Class sets: the classes of a run and the emotions that belong to each."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from meranet_jax import megc2019, recipes
from meranet_jax.errors import UserError

# Class name -> emotions that belong to the class.
ClassSet = dict[str, tuple[str, ...]]

# The value of --classes that stands for objective classes, which are determined by the
# action units (Davison et al. 2018); the record field that has their number, and the
# names of its values. Publications use the first five classes.
OBJECTIVE = "objective"
OBJECTIVE_FIELD = "objective_class"
OBJECTIVE_NAMES = ("objective class unknown", "I", "II", "III", "IV", "V", "VI", "VII")
_OBJECTIVE_CLASSES = OBJECTIVE_NAMES[1:6]


def resolve(
    emotions: Collection[str],
    *,
    text: str,
    paper: tuple[str, ...] | None,
    datasets: Collection[str] = (),
) -> ClassSet:
    """Returns the class set that the value of ``--classes`` describes.

    Args:
      emotions: all emotions of the data sets; with ``objective`` all objective classes.
      text: the value of ``--classes``: ``paper``; ``all``; ``megc3`` (negative,
        positive, surprise); ``objective``; a name in ``recipes.NAMED_CLASSES``;
        emotions separated by commas; or the path of a JSON file with
        ``{"class": ["emotion", ...]}``.
      paper: the classes that the paper uses for these data sets; None if it uses none,
        or different ones for each.
      datasets: names of the data sets.

    Returns:
      At least two classes. No emotion belongs to more than one.

    Raises:
      UserError: if ``text`` does not describe a class set, or no clip belongs to one of
        the classes.
    """
    if text == "all":
        classes = {name: (name,) for name in sorted(emotions)}
    elif text == "megc3":
        classes = _megc3(emotions)
    else:
        classes = _fixed(text, paper, datasets)
    for name, members in classes.items():
        if not any(member in emotions for member in members):
            found = "there is no clip"
            if emotions:
                found = f"the labels are {', '.join(sorted(emotions))}"
            raise UserError(
                f"--classes={text}: no clip is labelled "
                f"{' or '.join(members) or name}; {found}. Choose other --classes, "
                "such as all or a list of labels."
            )
    return classes


def check(text: str, datasets: Collection[str], paper: tuple[str, ...] | None) -> None:
    """Checks ``--classes`` before anything is prepared, as far as that is possible.

    Args:
      text: the value of ``--classes``.
      datasets: names of the data sets.
      paper: see ``resolve``.

    Raises:
      UserError: if it is no class set, or one that a data set does not have.
    """
    if text not in ("all", "megc3"):
        _fixed(text, paper, datasets)


def _fixed(
    text: str, paper: tuple[str, ...] | None, datasets: Collection[str]
) -> ClassSet:
    """Returns a class set that does not depend on the emotions of the records.

    Raises:
      UserError: if ``text`` does not describe one.
    """
    if text == "paper":
        if paper is None:
            raise UserError(
                "--classes=paper: the paper defines no classes for these data sets. "
                "Choose --classes=megc3, all, a list of emotions or a mapping file."
            )
        return {name: (name,) for name in paper}
    if text == OBJECTIVE:
        return {name: (name,) for name in _OBJECTIVE_CLASSES}
    if text in recipes.NAMED_CLASSES:
        return _named(text, datasets)
    if text.endswith(".json") or "/" in text:
        return _read(Path(text).expanduser())
    classes = {name.strip(): (name.strip(),) for name in text.split(",")}
    if len(classes) < len(text.split(",")) or len(classes) < 2:
        raise UserError(
            f"--classes={text}: name at least two different emotions, separated by "
            "commas, or choose paper, all, megc3, objective, "
            f"{', '.join(recipes.NAMED_CLASSES)} or a mapping file (.json)."
        )
    return classes


def label(text: str, field: str) -> str:
    """Returns the record field that has the label of a clip.

    Args:
      text: the value of ``--classes``.
      field: the value of ``--label``.

    Raises:
      UserError: if both name a field.
    """
    if text != OBJECTIVE:
        return field
    if field != "emotion":
        raise UserError(
            f"--classes={OBJECTIVE} uses the objective class of each clip, and no "
            f"--label. Leave out --label={field}, or choose other --classes."
        )
    return OBJECTIVE_FIELD


def rule(
    text: str, dataset: str, camera: str | None, field: str
) -> megc2019.Rule | None:
    """Returns the rule that determines the clips of a data set; None for all clips.

    Args:
      text: the value of ``--classes``.
      dataset: name of the data set.
      camera: the value of ``--camera``.
      field: the value of ``--label``.
    """
    if text != "megc3" or field != "emotion":
        return None
    return megc2019.find(dataset, camera)


def _named(text: str, datasets: Collection[str]) -> ClassSet:
    """Returns named classes of data sets.

    Raises:
      UserError: if one of the data sets does not have them, or others than the rest.
    """
    by_dataset = recipes.NAMED_CLASSES[text]
    listed = "; ".join(f"{name}: {', '.join(es)}" for name, es in by_dataset.items())
    found = {name: by_dataset.get(name.partition("/")[0]) for name in datasets}
    if missing := [name for name, classes in found.items() if classes is None]:
        raise UserError(
            f"--classes={text}: {missing[0]} has no classes of this name. They are "
            f"those of {listed}. Choose megc3, all, a list of emotions or a mapping "
            "file (.json)."
        )
    if len(set(found.values())) != 1:
        raise UserError(
            f"--classes={text}: the classes of {' and '.join(datasets)} differ "
            f"({listed}). Choose megc3, which has the same classes for all data sets, "
            "a list of emotions or a mapping file (.json)."
        )
    (classes,) = set(found.values())
    return {name: (name,) for name in classes}


def _megc3(emotions: Collection[str]) -> ClassSet:
    members: dict[str, list[str]] = {name: [] for name in megc2019.CLASSES}
    for emotion in sorted(emotions):
        name = megc2019.class_of(emotion)
        if name is not None:
            members[name].append(emotion)
    return {
        "negative": tuple(members["negative"]),
        "positive": tuple(members["positive"]) or megc2019.POSITIVE,
        "surprise": tuple(members["surprise"]) or ("surprise",),
    }


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
