"""Search for the releases of a data set on disk, and for the clips in them."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from datasets.source.cells import canonical_subject
from datasets.source.folders import (
    folders_under,
    shown,
    subfolders,
    without_suffix,
)
from meranet_jax.video.containers import VIDEO_SUFFIXES
from meranet_jax.video.frames import (
    false_on_os_error,
    is_image_name,
    numbered_frames,
)

# Maximum depth of a release's folder: three folders that a user or an archive adds, and
# repetitions of its own name (Cropped-updated/Cropped/Cropped).
MAX_DEPTH = 6


def _parse_folder_names(subject: str, clip: str) -> tuple[str | None, str]:
    return canonical_subject(subject), clip.casefold()


@dataclasses.dataclass(frozen=True)
class Release:
    """A published form of a data set: folders or videos of clips, by subject or not.

    Attributes:
      name: name of the release, as in messages and in ``--release``.
      parts: accepted names of the folder that contains the subjects, or the end of its
        path, ``SMIC_all_cropped/HS``; case, blanks, hyphens and underscores are
        ignored. One tuple for each part, if the release is divided by subjects into
        several parts.
      cropped: whether the frames are already cropped to the face.
      full_recording: whether a clip is the full recording, which extends beyond onset
        and offset.
      parse_folder_names: maps the names of the subject's folder and of the clip's
        folder (or of its video, without suffix) to the canonical subject, None if there
        is none, and the normalised name of the clip.
      parse_clip_name: maps the clip's name in the table to the same normalised name.
      of_subjects: whether there is a folder for each subject. If not, the folders of
        all clips are together, directly or some levels down, and
        ``parse_folder_names`` finds the subject in the name of the clip; that of the
        subject's folder is then empty.
      frames_folder: name of the folder in that of a clip that has the frames; None if
        they are in that of the clip. Case is ignored.
      frame_rate: frames per second (Hz); None if it is that of the data set.
      direct: whether ``parts`` names only the folder that contains the subjects, and
        no folder around it. It is for names that people also give the folder that
        contains all releases.
      ends_at_offset: whether the frames of a clip have the table's numbers and end at
        its offset, so that the last one replaces another offset in the table.
      other_frames: found in names of folders and videos that have frames of another
        kind, such as those of another camera. Such a folder is not read as this
        release, unless its name is one of ``parts``, and no clip is read in it. None if
        there are no such folders.
      no_expressions: matches the names of folders, in or around those of subjects,
        whose clips are no expressions, such as ``non_micro``. They are reported, and
        never read, even if they have the name of an expression. None if there are no
        such folders.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    cropped: bool = False
    full_recording: bool = False
    parse_folder_names: Callable[[str, str], tuple[str | None, str]] = (
        _parse_folder_names
    )
    parse_clip_name: Callable[[str], str] = str.casefold
    of_subjects: bool = True
    frames_folder: str | None = None
    frame_rate: float | None = None
    direct: bool = False
    ends_at_offset: bool = False
    other_frames: re.Pattern | None = None
    no_expressions: re.Pattern | None = None

    def excludes(self, name: str) -> bool:
        """Returns whether a name is that of a folder or video of other frames."""
        return self.other_frames is not None and bool(self.other_frames.search(name))

    def has_no_expressions(self, name: str) -> bool:
        """Returns whether a name is that of a folder without expressions."""
        pattern = self.no_expressions
        return pattern is not None and bool(pattern.fullmatch(without_suffix(name)[0]))


@dataclasses.dataclass(frozen=True)
class _Found:
    """A folder or video that may be a clip.

    Attributes:
      source: the folder with its frames, or the video.
      name: name of the clip.
      outer: name of the folder that contains nothing but it, or None.
    """

    source: Path
    name: str
    outer: str | None = None


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
      aliases: folders and videos by their names without a suffix such as ``_aligned``,
        or by the name of the folder that contains nothing but them.
      faces: folders and videos whose suffix, or that of their subject, says that they
        show faces only.
      faces_of_subjects: those of them whose subject's folder says so.
      mixed: whether the names of some folders say so, and of others do not.
      no_expressions: folders and videos that are no expressions, as in ``clips``, with
        the name of the folder that says so.
    """

    release: Release
    roots: tuple[Path, ...]
    clips: Mapping[tuple[str, str], Path]
    duplicates: tuple[Path, ...]
    unreadable: tuple[Path, ...] = ()
    shared: frozenset[Path] = frozenset()
    aliases: Mapping[tuple[str, str], Path] = dataclasses.field(default_factory=dict)
    faces: frozenset[Path] = frozenset()
    faces_of_subjects: frozenset[Path] = frozenset()
    mixed: bool = False
    no_expressions: Mapping[tuple[str, str], tuple[Path, str]] = dataclasses.field(
        default_factory=dict
    )

    def source(self, subject: str, clip: str) -> Path | None:
        """Returns the folder or video of a clip, None if there is none.

        The name is only looked up and never becomes part of a path, so a table cannot
        refer to files outside of the release.
        """
        key = (subject, self.release.parse_clip_name(clip))
        return self.clips.get(key, self.aliases.get(key))

    def name_of(self, source: Path) -> str:
        """Returns the name of a folder or video of a clip."""
        if not source.is_dir():
            return source.stem
        frames = self.release.frames_folder
        inside = frames is not None and source.name.casefold() == frames.casefold()
        return source.parent.name if inside else source.name

    def count_clips(self, wanted: Sequence[tuple[str, str]]) -> int:
        """Returns how many of the wanted clips (subject and name) the release has."""
        return sum(self.source(*clip) is not None for clip in wanted)

    def with_crops(self, wanted: Sequence[tuple[str, str]]) -> "LocalRelease":
        """Returns the release as a cropped one if most wanted clips are crops.

        The names of their folders say so. In a name that is the table's, such as
        ``happy_face``, nothing is a suffix.
        """
        crops = 0
        for subject, clip in wanted:
            key = (subject, self.release.parse_clip_name(clip))
            if key in self.clips:
                crops += self.clips[key] in self.faces_of_subjects
            elif key in self.aliases:
                crops += self.aliases[key] in self.faces
        count = self.count_clips(wanted)
        local = dataclasses.replace(self, mixed=0 < crops < count)
        if 2 * crops <= count:
            return local
        release = dataclasses.replace(self.release, cropped=True)
        return dataclasses.replace(local, release=release)

    def relative_roots(self, manual_dir: Path) -> str:
        """Returns the roots relative to ``manual_dir``, for messages."""
        return ", ".join(shown(root, manual_dir) for root in self.roots)

    def describe(self, manual_dir: Path) -> str:
        """Returns the name of the release and where it is, for metadata."""
        return f"{self.release.name}, in {self.relative_roots(manual_dir)}"


def find_releases(
    manual_dir: Path, releases: Sequence[Release]
) -> list[list[LocalRelease]]:
    """Finds the given releases below ``manual_dir``.

    Returns:
      For each part of a release that was found, a list of all folders with its name,
      nearest first. Folders of raw frames whose names say that they show faces, such as
      ``RAW_aligned``, have a list of their own.
    """
    spellings = {
        _normalise(spelling): (release, part)
        for release in releases
        for part, folder_names in enumerate(release.parts)
        for spelling in folder_names
    }
    found: dict[tuple[str, int, bool], list[LocalRelease]] = {}
    for folder in folders_under(manual_dir, MAX_DEPTH):
        inside = folder.relative_to(manual_dir).parts
        # From the inside out: the folder nearest to the frames determines the release.
        place = _known_place([*reversed(inside), *_names(manual_dir)], spellings)
        if place is None:
            continue
        (release, part), faces = place
        if faces:
            release = dataclasses.replace(release, cropped=True)
        local = read_release(folder, release)
        if local.clips or local.unreadable:
            key = (release.name, part, release.cropped)
            found.setdefault(key, []).append(local)
    return list(found.values())


def _known_place(
    names: Sequence[str], spellings: Mapping[str, tuple[Release, int]]
) -> tuple[tuple[Release, int], bool] | None:
    """Returns the part of a release that a folder belongs to.

    Args:
      names: names of the folder and of those around it, from the inside out.
      spellings: parts of releases by normalised name or end of a path.

    Returns:
      The part, and whether a word in the name says that its frames show faces. None if
      no name is known, or a folder in that of the release has other frames.
    """
    for place, name in enumerate(names):
        around = names[place + 1 : place + 2]
        for known, faces in ((name, False), without_suffix(name)):
            paths = [f"{outer}/{known}" for outer in around]
            for spelling in map(_normalise, [*paths, known]):
                if spelling in spellings:
                    release, _ = spellings[spelling]
                    excluded = any(map(release.excludes, names[:place]))
                    if not (excluded or release.direct and place):
                        return spellings[spelling], faces
    return None


def read_release(root: Path, release: Release) -> LocalRelease:
    """Lists the clips of a release in a folder.

    Args:
      root: contains a folder for each subject, or those of all clips. Folders and
        videos of clips are in it directly, or up to two levels further down.
      release: the form of the clips.
    """
    exact: dict[tuple[str, str], list[Path]] = {}
    aliases: dict[tuple[str, str], list[Path]] = {}
    no_expressions: dict[tuple[str, str], tuple[Path, str]] = {}
    faces, faces_of_subjects, unreadable = set(), set(), []
    for subject_folder in subfolders(root) if release.of_subjects else [root]:
        subject_name, shows_faces = without_suffix(subject_folder.name)
        if not release.of_subjects:
            subject_name, shows_faces = "", False
        elif canonical_subject(subject_name) is None:
            continue
        try:
            found = _clips_in(subject_folder, release)
        except PermissionError:
            unreadable.append(subject_folder)
            continue
        for clip in found:
            source = clip.source
            around = [root.name, *source.relative_to(subject_folder).parts[:-1]]
            if said := list(filter(release.has_no_expressions, around)):
                key = release.parse_folder_names(subject_name, clip.name)
                if key[0]:
                    no_expressions.setdefault(key, (source, said[-1]))
                continue
            other, clip_shows_faces = without_suffix(clip.name)
            if shows_faces:
                faces_of_subjects.add(source)
            if shows_faces or clip_shows_faces:
                faces.add(source)
            for names, found_by in (
                ({clip.name}, exact),
                ({other, clip.outer} - {clip.name}, aliases),
            ):
                for one in filter(None, names):
                    key = release.parse_folder_names(subject_name, one)
                    if key[0]:
                        found_by.setdefault(key, []).append(source)
    clips, duplicates = {}, []
    for key, alternatives in exact.items():
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
    chosen_aliases = {}
    for key, alternatives in aliases.items():
        alike = [a for a in alternatives if (a in faces) == release.cropped]
        chosen_aliases[key] = _preferred_source(alike or alternatives)
    return LocalRelease(
        release,
        (root,),
        clips,
        tuple(duplicates),
        tuple(unreadable),
        aliases=chosen_aliases,
        faces=frozenset(faces),
        faces_of_subjects=frozenset(faces_of_subjects),
        no_expressions=no_expressions,
    )


def merge_parts(parts: Sequence[LocalRelease]) -> LocalRelease:
    """Returns one release of parts of it in several folders."""
    clips, aliases, no_expressions, duplicates = {}, {}, {}, []
    for part in parts:
        no_expressions = dict(part.no_expressions) | no_expressions
        duplicates += part.duplicates
        aliases = dict(part.aliases) | aliases
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
        no_expressions=no_expressions,
    )


def _clips_in(folder: Path, release: Release, levels: int = 2) -> list[_Found]:
    """Returns the folders and videos that may be clips, sorted by path.

    Those of other frames are none.

    Args:
      folder: folder of a subject, or that of all clips.
      release: the form of the clips.
      levels: number of levels of folders between this one and those of clips.

    Raises:
      PermissionError: if the folder is not readable.
    """
    found = [
        _Found(video, video.stem)
        for video in _videos(folder)
        if not release.excludes(video.stem)
    ]
    for child in subfolders(folder):
        if release.excludes(child.name):
            continue
        below: list[_Found] = []
        with contextlib.suppress(PermissionError):  # reported with its row
            if frames := _frames_folder(child, release):
                below = [_Found(frames, child.name)]
            # Usually the first file is an image, so that no more are listed.
            elif levels and not any(map(is_image_name, _names_in(child))):
                below = _clips_in(child, release, levels - 1)
                if len(below) == 1:
                    below = [dataclasses.replace(below[0], outer=child.name)]
        # A folder that contains clips is none itself.
        found += below or [_Found(child, child.name)]
    return sorted(found, key=lambda clip: clip.source)


def _frames_folder(clip: Path, release: Release) -> Path | None:
    """Returns the folder in that of a clip that has its frames, if there is one."""
    if release.frames_folder is None:
        return None
    wanted = release.frames_folder.casefold()
    return next((f for f in subfolders(clip) if f.name.casefold() == wanted), None)


def _names_in(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries)


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
