"""Releases in folders with unknown names: their frames show what they contain."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.folders import folders_under, subfolders, without_suffix
from datasets.source.releases import (
    MAX_DEPTH,
    LocalRelease,
    Release,
    merge_parts,
    read_release,
)
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError
from meranet_jax.video.frames import Recording, open_recording

# Number of clips that show what a folder with an unknown name contains, and of frames
# by which a recording exceeds an expression at least.
_CLIPS_TO_INSPECT = 8
_BEYOND = 3

# Relative difference between aspect ratios of recordings and of crops.
_OTHER_ASPECT = 0.1


def find_unnamed(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
    named: Sequence[LocalRelease],
) -> tuple[LocalRelease, list[str]] | None:
    """Returns the release in folders with unknown names, and a note.

    Folders with different subjects are parts of one release, or with different clips if
    the release has no folders of subjects.

    Args:
      manual_dir: the user's folder.
      specification: specification of the data set.
      config: which releases are permitted.
      rows: the selected rows of the table.
      named: the releases with known names.

    Returns:
      None if there is no clip of the table in such folders.

    Raises:
      DataError: if the frames do not show what they are, or contradict ``--crop``.
    """
    wanted = [(row.subject, row.clip) for row in rows]
    roots = {root for local in named for root in local.roots}
    folders = [f for f in folders_under(manual_dir, MAX_DEPTH) if f not in roots]
    readings = []
    for release in specification.releases:
        if config.release in (None, release.name):
            parts = [
                read_release(folder, release)
                for folder in folders
                if may_contain(folder, release)
                or not release.of_subjects
                and _has_clips_below(folder, release)
            ]
            local = _with_most_clips(parts, wanted)
            if local is not None:
                local = local.with_crops(wanted)
                if config.permits(local.release):
                    readings.append(local)
    if not readings:
        return None
    most = max(local.count_clips(wanted) for local in readings)
    best = [local for local in readings if local.count_clips(wanted) == most]
    folder = best[0].relative_roots(manual_dir)
    recordings = list(_some_recordings(best[0], rows))
    by_size, why = _shows_faces(recordings, specification)
    kinds = {local.release.cropped for local in best}
    cropped = by_size if len(kinds) > 1 else next(iter(kinds))
    original = {release.name: release.cropped for release in specification.releases}
    contradicts = by_size is not None and by_size != cropped
    if any(local.release.cropped != original[local.release.name] for local in best):
        why = "the names of its folders say so"
    elif config.release is not None:
        why = f"--release={config.release}"
    elif cropped is None or contradicts:
        names = " or ".join(f"--release={local.release.name}" for local in best)
        but = f", but --crop={config.crop}" if contradicts else ""
        raise DataError(
            f"{folder} has frames of {most} of the table's {len(wanted)} expressions, "
            f"and its name is none of a release of {specification.title}: {why}{but}. "
            f"Say what it contains with {names}, or rename it."
        )
    elif by_size is None:
        why = "no other form has these clips"
        if config.crop in ("provided", "detect"):
            why = f"--crop={config.crop}"
    chosen = next(local for local in best if local.release.cropped == cropped)
    release = chosen.release
    if config.release is None and (full := _full_recordings(recordings)) is not None:
        alike = [local for local in best if local.release.cropped == cropped]
        chosen = next((r for r in alike if r.release.full_recording == full), chosen)
        release = dataclasses.replace(chosen.release, full_recording=full)
    kind = "faces" if cropped else "full frames"
    note = (
        f"{folder} was read although its name is unknown, as {release.name}: {kind} "
        f"({why}); it has {most} of the table's {len(wanted)} expressions"
    )
    return dataclasses.replace(chosen, release=release), [note]


def _has_clips_below(folder: Path, release: Release, levels: int = 2) -> bool:
    """Returns whether there are folders of clips in those inside a folder.

    They may be by emotion, or by subject and emotion. ``read_release`` reads as many
    levels.
    """
    for child in subfolders(folder):
        with contextlib.suppress(PermissionError):  # reported with its rows
            if may_contain(child, release):
                return True
            below = levels > 1 and not release.excludes(child.name)
            if below and _has_clips_below(child, release, levels - 1):
                return True
    return False


def _with_most_clips(
    parts: Sequence[LocalRelease], wanted: Sequence[tuple[str, str]]
) -> LocalRelease | None:
    """Merges folders that have different wanted clips, fullest first.

    If the release has folders of subjects, those merged have different subjects. If
    not, a folder and the one around it may have the same clips: the inner one is used.
    """

    def order(part: LocalRelease) -> tuple[int, int]:
        depth = 0 if part.release.of_subjects else len(part.roots[0].parts)
        return -part.count_clips(wanted), -depth

    chosen: list[LocalRelease] = []
    known: set[tuple[str, ...]] = set()
    for part in sorted(parts, key=order):
        of_subjects = part.release.of_subjects
        own = {
            (subject,) if of_subjects else (subject, clip)
            for subject, clip in wanted
            if part.source(subject, clip)
        }
        if own and not own & known:
            chosen.append(part)
            known |= own
    return merge_parts(chosen) if chosen else None


def _some_recordings(
    local: LocalRelease, rows: Sequence[Annotation]
) -> Iterator[tuple[Annotation, Recording]]:
    """Yields the recordings of some rows whose offset is known."""
    found = [
        (row, source)
        for row in rows
        if row.offset is not None and (source := local.source(row.subject, row.clip))
    ]
    for row, source in found[:: max(1, len(found) // _CLIPS_TO_INSPECT)]:
        try:
            # As a full recording, of which no number is refused
            yield (
                row,
                open_recording(source, row.onset, row.offset, full_recording=True),
            )
        except DataError:  # reported with its row
            continue


def _full_recordings(
    recordings: Sequence[tuple[Annotation, Recording]],
) -> bool | None:
    """Returns whether most recordings extend beyond onset and offset."""
    if not recordings:
        return None
    beyond = [
        found.last - found.first > row.offset - row.onset + _BEYOND
        for row, found in recordings
        if row.offset is not None
    ]
    return 2 * sum(beyond) > len(beyond)


def _shows_faces(
    recordings: Sequence[tuple[Annotation, Recording]], specification: Specification
) -> tuple[bool | None, str]:
    """Returns whether frames are crops of faces by their size, and why.

    None if it cannot be decided.
    """
    recorded = specification.recorded_sizes
    for _, found in recordings:
        try:
            _, image = next(found.read([found.first]))
        except DataError:
            continue
        height, width, _ = image.shape
        size = f"frames of {width} x {height}"
        if not recorded:
            return None, f"the size of recordings is not known, {size}"
        of = " or ".join(f"{w} x {h}" for w, h in recorded)
        if (width, height) in recorded:
            return False, f"{size}, as recorded"
        aspects = [w / h for w, h in recorded]
        near = any(abs(width / height / a - 1) < _OTHER_ASPECT for a in aspects)
        smaller = all(width < w and height < h for w, h in recorded)
        if smaller and not near:
            return True, f"{size}, and recordings are {of}"
        return None, (
            f"{size} may be crops of the recordings ({of}) or reduced recordings"
        )
    return None, "none of its images can be read"


def may_contain(folder: Path, release: Release) -> bool:
    """Returns whether a folder has subjects' folders, or those of clips, in it.

    Its name and that of the folder around it must not be those of other frames.
    """
    place = folder.absolute()
    if release.excludes(place.name) or release.excludes(place.parent.name):
        return False
    names = (without_suffix(child.name)[0] for child in subfolders(folder))
    if release.of_subjects:
        return any(canonical_subject(name) for name in names)
    return any(release.parse_folder_names("", name)[0] for name in names)
