"""Rows of data sets without a table: the names of folders are the labels."""

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datasets.source.annotations import Annotation, LeftOut, Table
from datasets.source.cells import canonical_subject
from datasets.source.folders import (
    folders_under,
    shown,
    subfolders,
    without_suffix,
)
from datasets.source.releases import (
    MAX_DEPTH,
    LocalRelease,
    find_releases,
    read_release,
)
from datasets.source.specification import LocalCopyConfig, Specification
from datasets.source.unnamed_release import may_contain
from meranet_jax.errors import DataError
from meranet_jax.video.frames import contiguous_runs, numbered_frames
from meranet_jax.video.video_file import list_frames


class _Found(NamedTuple):
    """A folder or video that is named like an expression.

    Attributes:
      root: the folder of the release that it is in.
      source: the folder or video.
      names: names of the folders below the root, see ``label_of_folders``.
    """

    root: Path
    source: Path
    names: tuple[str, ...]


def rows_of_folders(
    specification: Specification, config: LocalCopyConfig, manual_dir: Path
) -> Table:
    """Makes a row of each folder and video whose name is that of an expression.

    Onset and offset are the first and the last frame. If more than two numbers are
    missing in between, they are those of the run of most frames, since it is unknown
    what happened between runs. All forms of the data set are read that ``config``
    permits, so that a clip that exists in one of them only has a row.

    Args:
      specification: has ``label_of_folders``.
      config: which releases are permitted.
      manual_dir: the user's folder.

    Returns:
      The rows, numbered from 1 in the order of subjects and clips. ``path`` is the
      folder in which most of them were found.

    Raises:
      DataError: if there is none.
    """
    if config.table:
        raise DataError(
            f"--table={config.table[0]}: {specification.title} has no table; the names "
            "of its folders are its labels. Leave out --table."
        )
    clips: dict[tuple[str, str], list[_Found]] = {}
    places = sorted(
        _candidates(specification, config, manual_dir), key=lambda p: -len(p.clips)
    )
    for local in places:
        for key, source in local.clips.items():
            names = _names(local, source)
            try:
                named = specification.label_of_folders(names) is not None
            except DataError:  # reported below
                named = True
            if named:
                found = _Found(local.roots[0], source, names)
                clips.setdefault(key, []).append(found)
    if not clips:
        raise DataError(
            "\n".join(
                [
                    f"No folder in {manual_dir} is named like an expression of "
                    f"{specification.title}.",
                    *_excluded(specification, config, manual_dir),
                    specification.expected_layout,
                ]
            )
        )
    rows, left_out = [], []
    roots: collections.Counter[Path] = collections.Counter()
    for number, ((subject, _), several) in enumerate(sorted(clips.items()), start=1):
        root, source, names = next(filter(_has_frames, several), several[0])
        roots[root] += 1
        place = shown(source.parent, manual_dir)
        try:
            first, last, gap = _span(source)
            emotion = specification.label_of_folders(names)
        except DataError as error:
            left_out.append(LeftOut(place, number, subject, names[-1], str(error)))
            continue
        rows.append(
            Annotation(
                table=place,
                number=number,
                subject=subject,
                clip=names[-1],
                onset=first,
                apex=None,
                offset=last,
                emotion=emotion,
                action_units="",
                extra_fields={},
                gap=gap,
            )
        )
    return Table(
        path=roots.most_common(1)[0][0],
        sheet="",
        rows=tuple(rows),
        left_out=tuple(left_out),
        of_folders=True,
    )


def renumbered(row: Annotation, local: LocalRelease) -> Annotation:
    """Returns a row with the first and the last frame of its clip in a release."""
    source = local.source(row.subject, row.clip)
    if source is None:
        return row
    try:
        first, last, gap = _span(source)
    except DataError:  # reported when the frames are read
        return row
    return dataclasses.replace(row, onset=first, offset=last, gap=gap)


def folders_of_no_subject(local: LocalRelease) -> Iterator[Path]:
    """Yields the folders next to those of subjects that contain frames, too."""
    if not local.release.of_subjects:
        return
    for root in local.roots:
        for folder in subfolders(root):
            if canonical_subject(without_suffix(folder.name)[0]) is None and any(
                _has_frames(_Found(root, place, ()))
                for place in folders_under(folder, MAX_DEPTH)
            ):
                yield folder


def _candidates(
    specification: Specification, config: LocalCopyConfig, manual_dir: Path
) -> Iterator[LocalRelease]:
    """Yields the clips of each permitted release in each folder, whatever its name.

    A folder with the name of a release is only read as that.
    """
    named = _named(specification, manual_dir)
    yield from (local for local in named if config.permits(local.release))
    roots = {root for local in named for root in local.roots}
    permitted = [r for r in specification.releases if config.permits(r)]
    for folder in folders_under(manual_dir, MAX_DEPTH):
        for release in permitted:
            if folder not in roots and may_contain(folder, release):
                local = read_release(folder, release)
                if local.clips:
                    yield local


def _named(specification: Specification, manual_dir: Path) -> list[LocalRelease]:
    """Returns the releases in folders with their names."""
    found = find_releases(manual_dir, specification.releases)
    return [local for folders in found for local in folders]


def _excluded(
    specification: Specification, config: LocalCopyConfig, manual_dir: Path
) -> Iterator[str]:
    """Yields a sentence on each release that is there and that ``config`` excludes."""
    flags = [f"--{n}" for n in ("camera", "crop", "release") if hasattr(config, n)]
    for local in _named(specification, manual_dir):
        if not config.permits(local.release):
            yield (
                f"{local.release.name} was found in "
                f"{local.relative_roots(manual_dir)}, but {' or '.join(flags)} "
                "excludes it."
            )


def _has_frames(found: _Found) -> bool:
    try:
        _span(found.source)
    except DataError:
        return False
    return True


def _names(local: LocalRelease, source: Path) -> tuple[str, ...]:
    """Returns the names of the folders from below the root to that of a clip."""
    (root,) = local.roots
    name = local.name_of(source)
    between = source.relative_to(root).parts
    inside = source.is_dir() and source.name != name  # the frames' own folder
    return (*between[: -2 if inside else -1], name)


def _span(source: Path) -> tuple[int, int, str]:
    """Returns the span of the expression in a folder or a video.

    Returns:
      The numbers of the first and the last frame, and a sentence on frames that are
      left out, empty if there are none.

    Raises:
      DataError: if there is none, or permission is denied.
    """
    try:
        numbers = (
            numbered_frames(source) if source.is_dir() else list_frames(source).keys
        )
    except PermissionError as error:
        raise DataError(f"{source.name} cannot be read: permission denied") from error
    if not numbers:
        raise DataError("its folder contains no frames")
    runs = contiguous_runs(sorted(numbers))
    longest = max(runs, key=len)
    first, last = longest[0], longest[-1]
    if len(runs) == 1:
        return first, last, ""
    others = ", ".join(f"{run[0]} to {run[-1]}" for run in runs if run is not longest)
    gap = (
        f"more than two numbers in a row are missing between its {len(numbers)} "
        f"frames; those from {first} to {last} ({len(longest)} frames) were read, and "
        f"not {others}"
    )
    return first, last, gap
