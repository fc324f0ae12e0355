"""Search for the releases of a data set on disk, and for the clips in them."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datasets.source.cells import canonical_subject
from datasets.source.folders import folders_under, subfolders
from meranet_jax.errors import DataError
from meranet_jax.video.frames import false_on_os_error, numbered_frames
from meranet_jax.video.video_file import VIDEO_SUFFIXES

# Maximum depth of a release's folder: three folders that a user or an archive adds, and
# repetitions of its own name (Cropped-updated/Cropped/Cropped).
_MAX_DEPTH = 6

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz")


def _parse_folder_names(subject: str, clip: str) -> tuple[str | None, str]:
    return canonical_subject(subject), clip.casefold()


@dataclasses.dataclass(frozen=True)
class Release:
    """A published form of a data set: one folder for each subject, with its clips.

    Attributes:
      name: name of the release, as in messages and in ``--release``.
      parts: accepted names of the folder that contains the subjects; case, blanks,
        hyphens and underscores are ignored. One tuple for each part, if the release is
        divided by subjects into several parts.
      cropped: whether the frames are already cropped to the face.
      full_recording: whether a clip is the full recording, which extends beyond onset
        and offset.
      parse_folder_names: maps the names of the subject's folder and of the clip's
        folder (or of its video, without suffix) to the canonical subject, None if there
        is none, and the normalised name of the clip.
      parse_clip_name: maps the clip's name in the table to the same normalised name.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    cropped: bool = False
    full_recording: bool = False
    parse_folder_names: Callable[[str, str], tuple[str | None, str]] = (
        _parse_folder_names
    )
    parse_clip_name: Callable[[str], str] = str.casefold


@dataclasses.dataclass(frozen=True)
class LocalRelease:
    """A release found on disk.

    Attributes:
      release: the release.
      roots: the folders that contain the subjects, one for each part that was found.
      clips: folder or video of each clip, by canonical subject and normalised name.
      duplicates: further folders and videos of clips that are in ``clips``.
      unreadable: subjects' folders for which the permission to read is missing.
      shared: folders and videos that contain several expressions of the table.
    """

    release: Release
    roots: tuple[Path, ...]
    clips: Mapping[tuple[str, str], Path]
    duplicates: tuple[Path, ...]
    unreadable: tuple[Path, ...] = ()
    shared: frozenset[Path] = frozenset()

    def source(self, subject: str, clip: str) -> Path | None:
        """Returns the folder or video of a clip, None if there is none.

        The name is only looked up and never becomes part of a path, so a table cannot
        refer to files outside of the release.
        """
        return self.clips.get((subject, self.release.parse_clip_name(clip)))

    def count_clips(self, wanted: Sequence[tuple[str, str]]) -> int:
        """Returns how many of the wanted clips (subject and name) the release has."""
        return sum(self.source(*clip) is not None for clip in wanted)

    def relative_roots(self, manual_dir: Path) -> str:
        """Returns the roots relative to ``manual_dir``, for messages."""
        return ", ".join(str(root.relative_to(manual_dir)) for root in self.roots)


def find_releases(
    manual_dir: Path, releases: Sequence[Release]
) -> list[list[LocalRelease]]:
    """Finds the given releases below ``manual_dir``.

    Returns:
      For each part of a release that was found, a list of all folders with its name,
      nearest first.
    """
    spellings = {
        _normalise(spelling): (release, part)
        for release in releases
        for part, folder_names in enumerate(release.parts)
        for spelling in folder_names
    }
    found: dict[tuple[str, int], list[LocalRelease]] = {}
    for folder in folders_under(manual_dir, _MAX_DEPTH):
        inside = folder.relative_to(manual_dir).parts
        # From the inside out: the folder nearest to the frames determines the release.
        names = map(_normalise, [*reversed(inside), *_names(manual_dir)])
        match = next((spellings[n] for n in names if n in spellings), None)
        if match is None:
            continue
        release, part = match
        local = _read_release(folder, release)
        if local.clips or local.unreadable:
            found.setdefault((release.name, part), []).append(local)
    return list(found.values())


def choose_release(
    manual_dir: Path,
    releases: Sequence[Release],
    wanted: Sequence[tuple[str, str]],
    excluded: Sequence[Release] = (),
) -> tuple[LocalRelease, list[str]]:
    """Chooses the release to read.

    It is the first of ``releases`` that has at least half as many of the table's clips
    as the release with most of them; one with fewer may be a sample, or belong to
    another data set. Of several folders of the same release, the one with most clips is
    used.

    Args:
      manual_dir: the user's folder.
      releases: the permitted releases in order of preference.
      wanted: subject and name of each of the table's clips.
      excluded: other releases of the data set, which the error message mentions.

    Returns:
      The release, and notes for the user on releases that were found but not read.

    Raises:
      DataError: if no permitted release has any of the clips.
    """
    parts = find_releases(manual_dir, [*releases, *excluded])
    found: dict[str, list[LocalRelease]] = {}
    for folders in parts:
        best = max(folders, key=lambda local: local.count_clips(wanted))
        found.setdefault(best.release.name, []).append(best)
    merged = [
        _merge_parts(found[release.name])
        for release in releases
        if release.name in found
    ]
    candidates = [local for local in merged if local.count_clips(wanted)]
    if not candidates:
        raise DataError(_no_release_message(manual_dir, releases, parts, wanted))
    most = max(local.count_clips(wanted) for local in candidates)
    chosen = next(c for c in candidates if 2 * c.count_clips(wanted) >= most)
    notes = [
        f"{local.relative_roots(manual_dir)} ({local.count_clips(wanted)} of the "
        f"table's {len(wanted)} expressions) was not read"
        for folders in parts
        for local in folders
        if local.roots[0] not in chosen.roots
    ]
    return chosen, notes


def _merge_parts(parts: Sequence[LocalRelease]) -> LocalRelease:
    clips, duplicates, unreadable = {}, [], []
    for part in parts:
        duplicates += part.duplicates
        unreadable += part.unreadable
        for key, source in part.clips.items():
            if clips.setdefault(key, source) != source:
                duplicates.append(source)
    roots = tuple(root for part in parts for root in part.roots)
    return LocalRelease(
        parts[0].release, roots, clips, tuple(duplicates), tuple(unreadable)
    )


def _no_release_message(
    manual_dir: Path,
    releases: Sequence[Release],
    parts: Sequence[Sequence[LocalRelease]],
    wanted: Sequence[tuple[str, str]],
) -> str:
    found = [local for folders in parts for local in folders]
    empty = [
        local.relative_roots(manual_dir)
        for local in found
        if not local.count_clips(wanted)
    ]
    lines = [
        f"No frames of the table's clips were found in {manual_dir}.",
        f"Found without any of these clips: {', '.join(empty) or 'nothing'}.",
        f"Expected, up to three folders deep: {' or '.join(r.name for r in releases)}, "
        f"with a folder for each subject ({wanted[0][0]}) that contains a folder for "
        f"each clip ({wanted[0][1]}).",
    ]
    lines += [
        f"{local.release.name} was found in {local.relative_roots(manual_dir)}, with "
        f"{local.count_clips(wanted)} of the table's {len(wanted)} expressions, but "
        "--crop or --release excludes it."
        for local in found
        if local.count_clips(wanted)
    ]
    archives = [
        str(path.relative_to(manual_dir))
        for folder in folders_under(manual_dir, depth=2)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _ARCHIVES
    ]
    if archives:
        lines.append(f"Archives that are not unpacked: {', '.join(archives[:5])}.")
    unknown = [
        str(folder.relative_to(manual_dir))
        for folder in folders_under(manual_dir, _MAX_DEPTH)
        if any(map(canonical_subject, (f.name for f in subfolders(folder))))
        and all(folder not in local.roots for local in found)
    ]
    if unknown:
        lines.append(
            f"Folders of subjects with an unknown name: {', '.join(unknown[:5])}; "
            "rename each to the name of its release."
        )
    lines.append(
        "Unpack the archives there, or give the folder in which they are unpacked."
    )
    return "\n".join(lines)


def _read_release(root: Path, release: Release) -> LocalRelease:
    """Lists the clips of a release in ``root``, a folder that contains subjects."""
    sources: dict[tuple[str, str], list[Path]] = {}
    unreadable = []
    for subject_folder in subfolders(root):
        if canonical_subject(subject_folder.name) is None:
            continue
        try:
            found = [*subfolders(subject_folder), *_videos(subject_folder)]
        except PermissionError:
            unreadable.append(subject_folder)
            continue
        for source in found:
            name = source.name if source.is_dir() else source.stem
            subject, clip = release.parse_folder_names(subject_folder.name, name)
            if subject:
                sources.setdefault((subject, clip), []).append(source)
    clips, duplicates = {}, []
    for key, alternatives in sources.items():
        chosen = alternatives[0]
        if len(alternatives) > 1:
            chosen = _preferred_source(alternatives)
        clips[key] = chosen
        # A video of a clip that also exists as frames is expected, so not a duplicate.
        duplicates += [
            source
            for source in alternatives
            if source != chosen and source.is_dir() == chosen.is_dir()
        ]
    return LocalRelease(release, (root,), clips, tuple(duplicates), tuple(unreadable))


def _preferred_source(sources: Sequence[Path]) -> Path:
    """Returns the first folder that contains frames, else the first video."""
    folders = [source for source in sources if source.is_dir()]
    videos = [source for source in sources if not source.is_dir()]
    return next((f for f in folders if _has_frames(f)), (videos or folders)[0])


def _has_frames(folder: Path) -> bool:
    try:
        return bool(numbered_frames(folder))
    except PermissionError:
        return False


def _videos(parent: Path) -> list[Path]:
    return [
        path
        for path in sorted(parent.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and false_on_os_error(path.is_file)
    ]


def _names(folder: Path) -> list[str]:
    """Returns the names of a folder and its parent, for releases nested twice."""
    resolved = folder.resolve()
    return [resolved.name, resolved.parent.name]


def _normalise(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
