"""What lies below a user's folder, whatever links and closed doors are there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from meranet_jax.video.frames import leads_to

# Folders below which frames lie and nothing else: sub01, s15, 15, subject_1.
_SUBJECT_FOLDER = re.compile(r"(?:s|sub|subject)?[\s_-]*[0-9]{1,3}", re.IGNORECASE)


def folders_under(root: Path, depth: int) -> Iterator[Path]:
    """``root`` and the folders up to ``depth`` below it, the nearest first.

    Folders of subjects are not entered, since frames and nothing else lie below them
    (but one alone is, which may be called so by chance). Nor are those that the
    archivers of macOS add, nor those that may not be read.
    """
    level, seen = [root], set()
    for _ in range(depth + 1):
        below = []
        for folder in level:
            if (real := folder.resolve()) in seen:
                continue  # a link that leads back
            seen.add(real)
            try:
                inside = subfolders(folder)
            except PermissionError:
                if folder == root:
                    raise
                continue
            yield folder
            subjects = [f for f in inside if _SUBJECT_FOLDER.fullmatch(f.name)]
            if len(subjects) == 1:
                subjects = []  # perhaps a user's 01, with a release below
            below += [
                child
                for child in inside
                if child not in subjects and not child.name.startswith("__MACOSX")
            ]
        level = below


def subfolders(parent: Path) -> list[Path]:
    """The folders in ``parent`` by name, but for hidden ones."""
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and leads_to(entry.is_dir)
        ]
    return [parent / name for name in sorted(names)]
