"""Traversal of a user's folder that tolerates link cycles and unreadable folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from meranet_jax.video.frames import false_on_os_error

# Subjects' folders, which contain nothing but frames: sub01, s15, 15, subject_1 and
# spNO.1.
_SUBJECT_FOLDER = re.compile(
    r"(?:s|sub|subject|spno\.?)?[\s_-]*[0-9]{1,3}", re.IGNORECASE
)

# Words that people and programs append to the names of folders; the first group says
# that the frames show faces only.
_SUFFIX = re.compile(
    r"[\s_-]+(?:(align(?:ed)?|crop(?:ped)?|faces?)|original|orig|resized|copy)$",
    re.IGNORECASE,
)


def folders_under(root: Path, depth: int) -> Iterator[Path]:
    """Yields ``root`` and the folders up to ``depth`` levels below it, nearest first.

    Three kinds of folders are skipped: those of subjects, since they contain nothing
    but frames (unless there is only one, which may have such a name by chance); those
    that macOS adds to archives; and those that are not readable.

    Raises:
      PermissionError: if ``root`` itself is not readable.
    """
    level, seen = [root], set()
    for _ in range(depth + 1):
        below = []
        for folder in level:
            if (real := folder.resolve()) in seen:
                continue  # a link to a folder already visited
            seen.add(real)
            try:
                inside = subfolders(folder)
            except PermissionError:
                if folder == root:
                    raise
                continue
            yield folder
            subjects = [f for f in inside if is_subject_folder(f.name)]
            if len(subjects) == 1:
                subjects = []  # it may contain a release
            below += [
                child
                for child in inside
                if child not in subjects and not child.name.startswith("__MACOSX")
            ]
        level = below


def is_subject_folder(name: str) -> bool:
    """Returns whether a name is that of a subject's folder, such as ``sub01``."""
    return _SUBJECT_FOLDER.fullmatch(without_suffix(name)[0]) is not None


def without_suffix(name: str) -> tuple[str, bool]:
    """Removes words such as ``_aligned`` or ``_original`` from the name of a folder.

    Returns:
      The rest, and whether a word says that its frames show faces only.
    """
    faces = False
    while match := _SUFFIX.search(name):
        faces |= match[1] is not None
        name = name[: match.start()]
    return name, faces


def shown(path: Path, manual_dir: Path) -> str:
    """Returns a path relative to the user's folder, or the name of that folder."""
    relative = path.relative_to(manual_dir)
    return str(relative) if relative.parts else path.resolve().name


def subfolders(parent: Path) -> list[Path]:
    """Returns the folders in ``parent``, sorted by name, without hidden ones."""
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and false_on_os_error(entry.is_dir)
        ]
    return [parent / name for name in sorted(names)]
