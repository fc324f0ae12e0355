"""Releases of a data set on disk: which there are, and where their clips lie."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datasets.source.annotations import canonical_subject
from datasets.source.folders import folders_under, subfolders
from meranet_jax.errors import DataError
from meranet_jax.video.frames import VIDEOS, leads_to, numbered_frames

# Three folders that a user or an archive puts around the release's own, which may in
# turn hold itself: Cropped-updated/Cropped/Cropped.
_DEPTH = 6

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz")


def _plain(subject: str, name: str) -> tuple[str | None, str]:
    return canonical_subject(subject), name.casefold()


@dataclasses.dataclass(frozen=True)
class Release:
    """A form in which a data set is passed on: subjects' folders of clips.

    Attributes:
      name: what it is called here and in messages.
      parts: the names of the folder that holds the subjects, compared without regard
        to case, blanks, hyphens and underscores. More than one tuple where the release
        comes in several parts, of which each has some of the subjects.
      cropped: whether its frames are faces already.
      whole: whether a clip is the full recording, and not onset to offset alone.
      of_folder: the subject and the clip that a clip's folder or video holds, from the
        names of the subject's folder and of its own.
      of_clip: the same name of a clip from what the table calls it.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    cropped: bool = False
    whole: bool = False
    of_folder: Callable[[str, str], tuple[str | None, str]] = _plain
    of_clip: Callable[[str], str] = str.casefold


@dataclasses.dataclass(frozen=True)
class Layout:
    """A release as it was found on disk.

    Attributes:
      release: which one.
      roots: the folders that hold the subjects, one for each part that was found.
      clips: folders and videos by canonical subject and clip.
      doubles: folders and videos of a clip that has one in ``clips`` already.
      closed: folders of subjects that may not be read.
      shared: sources of which the table names several expressions.
    """

    release: Release
    roots: tuple[Path, ...]
    clips: Mapping[tuple[str, str], Path]
    doubles: tuple[Path, ...]
    closed: tuple[Path, ...] = ()
    shared: frozenset[Path] = frozenset()

    def source(self, subject: str, clip: str) -> Path | None:
        """A clip's folder or video, None if there is none.

        The name is looked up and never made part of a path, so that no table can
        point outside.
        """
        return self.clips.get((subject, self.release.of_clip(clip)))

    def held(self, wanted: Sequence[tuple[str, str]]) -> int:
        """How many of these subjects' clips there are."""
        return sum(self.source(*clip) is not None for clip in wanted)

    def within(self, manual_dir: Path) -> str:
        """The roots as a user knows them, below ``manual_dir``."""
        return ", ".join(str(root.relative_to(manual_dir)) for root in self.roots)


def find_layouts(manual_dir: Path, releases: Sequence[Release]) -> list[list[Layout]]:
    """What of these releases lies under ``manual_dir``, the nearest first.

    Returns:
      A list for each part of a release of which anything was found, with all the
      folders that are called so.
    """
    spellings = {
        _normal(spelling): (release, part)
        for release in releases
        for part, all_ in enumerate(release.parts)
        for spelling in all_
    }
    found: dict[tuple[str, int], list[Layout]] = {}
    for folder in folders_under(manual_dir, _DEPTH):
        inside = folder.relative_to(manual_dir).parts
        # From the inside out: what is nearest to the frames says what they are.
        names = map(_normal, [*reversed(inside), *_names(manual_dir)])
        meant = next((spellings[n] for n in names if n in spellings), None)
        if meant is None:
            continue
        release, part = meant
        layout = _layout(folder, release)
        if layout.clips or layout.closed:
            found.setdefault((release.name, part), []).append(layout)
    return list(found.values())


def choose_layout(
    manual_dir: Path,
    releases: Sequence[Release],
    wanted: Sequence[tuple[str, str]],
    others: Sequence[Release] = (),
) -> tuple[Layout, list[str]]:
    """The layout to take, and what a user should know of the choice.

    The first in the order of ``releases`` that holds at least half as many of the
    table's clips as the fullest; what holds fewer may be another data set's, or a
    sample. Of two of one name the fuller.

    Args:
      manual_dir: where to look.
      releases: those that may be taken, the preferred first.
      wanted: the subjects and clips that the table names.
      others: those that may not be taken, but are known.

    Raises:
      DataError: if none holds any of them.
    """
    parts = find_layouts(manual_dir, [*releases, *others])
    joined: dict[str, list[Layout]] = {}
    for layouts in parts:
        fullest = max(layouts, key=lambda layout: layout.held(wanted))
        joined.setdefault(fullest.release.name, []).append(fullest)
    candidates = [
        joined_layout
        for release in releases
        if release.name in joined
        and (joined_layout := _join(joined[release.name])).held(wanted)
    ]
    if not candidates:
        raise DataError(_nothing_found(manual_dir, releases, parts, wanted))
    most = max(layout.held(wanted) for layout in candidates)
    chosen = next(c for c in candidates if 2 * c.held(wanted) >= most)
    notes = [
        f"{layout.within(manual_dir)} ({layout.held(wanted)} of the table's "
        f"{len(wanted)} expressions) was not read"
        for layouts in parts
        for layout in layouts
        if layout.roots[0] not in chosen.roots
    ]
    return chosen, notes


def _join(layouts: Sequence[Layout]) -> Layout:
    """The parts of a release as one."""
    clips, doubles, closed = {}, [], []
    for layout in layouts:
        doubles += layout.doubles
        closed += layout.closed
        for key, source in layout.clips.items():
            if clips.setdefault(key, source) != source:
                doubles.append(source)
    roots = tuple(root for layout in layouts for root in layout.roots)
    return Layout(layouts[0].release, roots, clips, tuple(doubles), tuple(closed))


def _nothing_found(
    manual_dir: Path,
    releases: Sequence[Release],
    parts: Sequence[Sequence[Layout]],
    wanted: Sequence[tuple[str, str]],
) -> str:
    layouts = [layout for layouts in parts for layout in layouts]
    empty = [layout.within(manual_dir) for layout in layouts if not layout.held(wanted)]
    lines = [
        f"No frames of the table's clips were found in {manual_dir}.",
        f"Found without any of these clips: {', '.join(empty) or 'nothing'}.",
        f"Expected, up to three folders deep: {' or '.join(r.name for r in releases)}, "
        f"with a folder for each subject ({wanted[0][0]}) and in it one for each clip "
        f"({wanted[0][1]}).",
    ]
    lines += [
        f"There is {layout.release.name} in {layout.within(manual_dir)}, with "
        f"{layout.held(wanted)} of the table's {len(wanted)} expressions, but --crop "
        "or --release does not allow it."
        for layout in layouts
        if layout.held(wanted)
    ]
    packed = [
        str(path.relative_to(manual_dir))
        for folder in folders_under(manual_dir, depth=2)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _ARCHIVES
    ]
    if packed:
        lines.append(f"Found packed: {', '.join(packed[:5])}.")
    others = [
        str(folder.relative_to(manual_dir))
        for folder in folders_under(manual_dir, _DEPTH)
        if any(map(canonical_subject, (f.name for f in subfolders(folder))))
        and all(folder not in layout.roots for layout in layouts)
    ]
    if others:
        lines.append(
            f"Folders of subjects with another name: {', '.join(others[:5])}; give "
            "them the name of what they hold."
        )
    lines.append(
        "Unpack the archives there, or give the folder in which they are unpacked."
    )
    return "\n".join(lines)


def _layout(root: Path, release: Release) -> Layout:
    """What of a release lies in ``root``."""
    sources: dict[tuple[str, str], list[Path]] = {}
    closed = []
    for subject_folder in subfolders(root):
        if canonical_subject(subject_folder.name) is None:
            continue
        try:
            found = [*subfolders(subject_folder), *_videos(subject_folder)]
        except PermissionError:
            closed.append(subject_folder)
            continue
        for source in found:
            name = source.name if source.is_dir() else source.stem
            subject, clip = release.of_folder(subject_folder.name, name)
            if subject:
                sources.setdefault((subject, clip), []).append(source)
    clips, doubles = {}, []
    for key, there in sources.items():
        clips[key] = chosen = there[0] if len(there) == 1 else _with_frames(there)
        # Where there are frames a video is the same once more, and no surprise.
        doubles += [
            source
            for source in there
            if source != chosen and source.is_dir() == chosen.is_dir()
        ]
    return Layout(release, (root,), clips, tuple(doubles), tuple(closed))


def _with_frames(sources: Sequence[Path]) -> Path:
    """Of several sources of a clip the first folder of frames, else the first video."""
    folders = [source for source in sources if source.is_dir()]
    videos = [source for source in sources if not source.is_dir()]
    return next((f for f in folders if _holds_frames(f)), (videos or folders)[0])


def _holds_frames(folder: Path) -> bool:
    try:
        return bool(numbered_frames(folder))
    except PermissionError:
        return False


def _videos(parent: Path) -> list[Path]:
    return [
        path
        for path in sorted(parent.iterdir())
        if path.suffix.lower() in VIDEOS
        and not path.name.startswith(".")
        and leads_to(path.is_file)
    ]


def _names(folder: Path) -> list[str]:
    """A folder's name, then that of the one it is in, for releases of two levels."""
    resolved = folder.resolve()
    return [resolved.name, resolved.parent.name]


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
