"""Choice of the release to read, in folders of any name."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.folders import folders_under, shown, subfolders, without_suffix
from datasets.source.releases import (
    MAX_DEPTH,
    LocalRelease,
    Release,
    find_releases,
    read_release,
)
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError
from meranet_jax.video.frames import Recording, is_image_name, open_recording
from meranet_jax.video.video_file import VIDEO_SUFFIXES

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz")

# Number of clips that show what a folder with an unknown name contains, and of frames
# by which a recording exceeds an expression at least.
_CLIPS_TO_INSPECT = 8
_BEYOND = 3

# Relative difference between aspect ratios of recordings and of crops.
_OTHER_ASPECT = 0.1


def choose_release(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
) -> tuple[LocalRelease, list[str]]:
    """Chooses the release to read.

    It is the first in the data set's order of preference that has at least half as many
    of the table's clips as the release with most of them; one with fewer may be a
    sample, or belong to another data set. Of several folders of the same release, the
    one with most clips is used. A folder with an unknown name is used if there is no
    other, and its frames show what it contains.

    Args:
      manual_dir: the user's folder.
      specification: specification of the data set.
      config: which releases are permitted.
      rows: the selected rows of the table.

    Returns:
      The release, and notes for the user on the choice.

    Raises:
      DataError: if no permitted release has any of the clips, or the configuration
        contradicts itself.
    """
    _check_options(specification, config)
    wanted = [(row.subject, row.clip) for row in rows]
    found: list[LocalRelease] = []
    best_of: dict[tuple[str, int, bool], LocalRelease] = {}
    for part, folders in enumerate(find_releases(manual_dir, specification.releases)):
        for local in folders:
            local = local.with_crops(wanted)
            found.append(local)
            key = (local.release.name, part, local.release.cropped)
            best = best_of.setdefault(key, local)
            if local.count_clips(wanted) > best.count_clips(wanted):
                best_of[key] = local
    parts: dict[tuple[str, bool], list[LocalRelease]] = {}
    for (name, _, cropped), local in best_of.items():
        parts.setdefault((name, cropped), []).append(local)
    merged = [_merge_parts(some) for some in parts.values()]
    names = [release.name for release in specification.releases]
    merged.sort(key=lambda local: names.index(local.release.name))
    # Faces first, as in the data set's own order; full frames first where they are kept
    merged.sort(key=lambda local: local.release.cropped == (config.crop == "none"))
    candidates = [
        local
        for local in merged
        if _permits(config, local.release) and local.count_clips(wanted)
    ]
    most = max((local.count_clips(wanted) for local in candidates), default=0)
    notes = []
    if 2 * most < len(wanted):
        # Perhaps a sample, next to the complete data in a folder with another name.
        unnamed = _unnamed_release(manual_dir, specification, config, rows, found)
        if unnamed is not None and unnamed[0].count_clips(wanted) > 2 * most:
            chosen, notes = unnamed
        elif not candidates:
            raise DataError(
                _no_clip_message(manual_dir, specification, config, rows, found)
            )
    if not notes:
        chosen = next(c for c in candidates if 2 * c.count_clips(wanted) >= most)
    if chosen.mixed:
        kind = "faces" if chosen.release.cropped else "full frames"
        notes.append(
            f"{chosen.relative_roots(manual_dir)}: the names of some folders say that "
            f"they show faces, such as EP02_01f_aligned, and those of others do not. "
            f"All were read as {kind}"
        )
    notes += [
        f"{local.relative_roots(manual_dir)} ({local.count_clips(wanted)} of the "
        f"table's {len(wanted)} expressions) was not read"
        for local in found
        if local.roots[0] not in chosen.roots
    ]
    return chosen, notes


def _check_options(specification: Specification, config: LocalCopyConfig) -> None:
    """Raises DataError if the release does not exist or contradicts the crop."""
    releases = [r for r in specification.releases if r.name == config.release]
    if config.release is not None and not releases:
        raise DataError(
            f"--release={config.release} is not a release of {specification.title}. "
            f"Its releases: {', '.join(r.name for r in specification.releases)}."
        )
    cropped = config.crop == "provided"
    if (
        releases
        and config.crop in ("provided", "detect")
        and not any(release.cropped == cropped for release in releases)
    ):
        raise DataError(
            f"--crop={config.crop} cannot be combined with --release={config.release}, "
            f"which is {'not ' * cropped}cropped."
        )


def _permits(config: LocalCopyConfig, release: Release) -> bool:
    """Returns whether the configuration permits a release."""
    if config.release not in (None, release.name):
        return False
    return config.crop in ("auto", "none") or (
        release.cropped == (config.crop == "provided")
    )


def _merge_parts(parts: Sequence[LocalRelease]) -> LocalRelease:
    clips, aliases, duplicates = {}, {}, []
    for part in parts:
        duplicates += part.duplicates
        aliases |= dict(part.aliases) | aliases
        for key, source in part.clips.items():
            if clips.setdefault(key, source) != source:
                duplicates.append(source)
    return LocalRelease(
        parts[0].release,
        tuple(root for part in parts for root in part.roots),
        clips,
        tuple(duplicates),
        tuple(path for part in parts for path in part.unreadable),
        aliases=aliases,
        faces=frozenset().union(*(part.faces for part in parts)),
        faces_of_subjects=frozenset().union(*(p.faces_of_subjects for p in parts)),
        mixed=any(part.mixed for part in parts),
    )


def _unnamed_release(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
    named: Sequence[LocalRelease],
) -> tuple[LocalRelease, list[str]] | None:
    """Returns the release in folders with unknown names, and a note.

    Folders with different subjects are parts of one release.

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
    folders = [f for f in _folders_of_subjects(manual_dir) if f not in roots]
    readings = []
    for release in specification.releases:
        if config.release in (None, release.name):
            parts = [read_release(folder, release) for folder in folders]
            local = _with_most_clips(parts, wanted)
            if local is not None:
                local = local.with_crops(wanted)
                if _permits(config, local.release):
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


def _with_most_clips(
    parts: Sequence[LocalRelease], wanted: Sequence[tuple[str, str]]
) -> LocalRelease | None:
    """Merges folders that have wanted clips of different subjects, fullest first."""
    chosen: list[LocalRelease] = []
    subjects: set[str] = set()
    for part in sorted(parts, key=lambda part: -part.count_clips(wanted)):
        own = {subject for subject, clip in wanted if part.source(subject, clip)}
        if own and not own & subjects:
            chosen.append(part)
            subjects |= own
    return _merge_parts(chosen) if chosen else None


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


def _folders_of_subjects(manual_dir: Path) -> list[Path]:
    return [
        folder
        for folder in folders_under(manual_dir, MAX_DEPTH)
        if any(
            canonical_subject(without_suffix(child.name)[0])
            for child in subfolders(folder)
        )
    ]


def _no_clip_message(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
    named: Sequence[LocalRelease],
) -> str:
    wanted = [(row.subject, row.clip) for row in rows]
    permitted = [r for r in specification.releases if _permits(config, r)]
    lines = [f"No frames of the table's clips were found in {manual_dir}."]
    lines += [
        f"{local.release.name} was found in {local.relative_roots(manual_dir)}, with "
        f"{local.count_clips(wanted)} of the table's {len(wanted)} expressions, but "
        "--crop or --release excludes it."
        for local in named
        if local.count_clips(wanted)
    ]
    found = _some_clips(manual_dir)
    names = " or ".join(release.name for release in permitted)
    expected = [f"{row.subject}/{row.clip}" for row in rows[:3]]
    lines += [
        f"Folders with frames and videos there, for example: "
        f"{', '.join(found) or 'none'}.",
        f"Expected, up to three folders deep in {names}, for example: "
        f"{', '.join(expected)}.",
    ]
    archives = [
        str(path.relative_to(manual_dir))
        for folder in folders_under(manual_dir, depth=2)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _ARCHIVES
    ]
    if archives:
        lines.append(f"Archives that are not unpacked: {', '.join(archives[:5])}.")
    lines.append(
        "Unpack the archives there, or give the folder in which they are unpacked."
    )
    return "\n".join(lines)


def _some_clips(manual_dir: Path, number: int = 3) -> list[str]:
    """Returns some folders with images, and videos, relative to the user's folder."""
    found: list[str] = []
    level = [manual_dir]
    for _ in range(MAX_DEPTH + 2):
        below: list[Path] = []
        for folder in level:
            if len(found) == number:
                return found
            try:
                names = sorted(path.name for path in folder.iterdir())
                below += subfolders(folder)
            except OSError:
                continue
            if any(map(is_image_name, names)):
                found.append(shown(folder, manual_dir))
            else:
                found += [
                    shown(folder / name, manual_dir)
                    for name in names
                    if Path(name).suffix.lower() in VIDEO_SUFFIXES
                ]
        # A few of each level suffice for an example.
        level = below[:100]
    return found[:number]
