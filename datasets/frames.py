"""Releases of a data set on disk, and the frames in them by number.

Frames go by their number in the recording and never by the order of their names,
in which img10 stands before img2.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from datasets.annotations import (
    canonical_subject,
    folders_under,
    leads_to,
    subfolders,
)
from datasets.errors import DataError

# Three folders that a user or an archive puts around the release's own, which may in
# turn hold itself: Cropped-updated/Cropped/Cropped.
_DEPTH = 6

_IMAGE = re.compile(
    r"(?P<stem>[^.].*?)(?:\.(?:jpe?g|png|bmp|tiff?))+",  # img2977.jpg.jpg exists
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\([0-9]+\)$")  # what file managers append to a second copy
_VIDEOS = (".avi", ".mp4", ".mov", ".mkv")
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz")

# Missing frames that are bridged by their neighbours; more are an end of the recording.
_HOLE = 2

# Frames of a video: ten minutes at CASME II's 200 a second.
_LONGEST = 120_000

# A picture that would not fit in memory is refused and not only warned of. Here, for
# the whole process, since warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# Clips are read side by side already.
cv2.setNumThreads(1)


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
    """

    release: Release
    roots: tuple[Path, ...]
    clips: Mapping[tuple[str, str], Path]
    doubles: tuple[Path, ...]

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
        clips, doubles = _clips_in(folder, release)
        if clips:
            layout = Layout(release, (folder,), clips, doubles)
            found.setdefault((release.name, part), []).append(layout)
    return list(found.values())


def choose_layout(
    manual_dir: Path, releases: Sequence[Release], wanted: Sequence[tuple[str, str]]
) -> tuple[Layout, list[str]]:
    """The layout to take, and what a user should know of the choice.

    The first in the order of ``releases`` that holds at least half as many of the
    table's clips as the fullest; what holds fewer may be another data set's, or a
    sample. Of two of one name the fuller.

    Args:
      manual_dir: where to look.
      releases: those that may be taken, the preferred first.
      wanted: the subjects and clips that the table names.

    Raises:
      DataError: if none holds any of them.
    """
    parts = find_layouts(manual_dir, releases)
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
    clips, doubles = {}, []
    for layout in layouts:
        doubles += layout.doubles
        for key, source in layout.clips.items():
            if clips.setdefault(key, source) != source:
                doubles.append(source)
    roots = tuple(root for layout in layouts for root in layout.roots)
    return Layout(layouts[0].release, roots, clips, tuple(doubles))


def _nothing_found(manual_dir, releases, parts, wanted) -> str:
    found = [
        layout.within(manual_dir) or "." for layouts in parts for layout in layouts
    ]
    lines = [
        f"No frames of the table's clips were found in {manual_dir}.",
        f"Found without any of these clips: {', '.join(found) or 'nothing'}.",
        f"Expected, up to three folders deep: {' or '.join(r.name for r in releases)}, "
        f"with a folder for each subject ({wanted[0][0]}) and in it one for each clip "
        f"({wanted[0][1]}).",
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
        and all(folder not in layout.roots for layouts in parts for layout in layouts)
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


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a clip by their number, ascending.

    Attributes:
      source: the folder or the video.
      places: by number the image's file, or the frame's place in the video.
      renumbered: whether the source counts from 1 at the onset, so that the numbers
        here are those of the table and not its own.
    """

    source: Path
    places: Mapping[int, Path | int]
    renumbered: bool

    @property
    def first(self) -> int:
        return next(iter(self.places))

    @property
    def last(self) -> int:
        return next(reversed(self.places))

    def around(self, number: int) -> "Recording | None":
        """The run of frames that ``number`` is in; None if it is in none.

        Up to two missing frames are bridged. A larger hole is an end: what lies beyond
        it may be another expression.
        """
        runs: list[dict] = []
        previous = None
        for n, place in self.places.items():
            if previous is None or n - previous > _HOLE + 1:
                runs.append({})
            runs[-1][n] = place
            previous = n
        for run in runs:
            if next(iter(run)) <= number <= next(reversed(run)):
                return dataclasses.replace(self, places=run)
        return None

    def nearest(self, number: int) -> int:
        """The number of the frame nearest to ``number``, of two the earlier."""
        if number in self.places:
            return number
        return min(self.places, key=lambda n: (abs(n - number), n))

    def frames(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Reads the frames of these numbers, each once, ascending.

        Yields:
          The number and uint8 [H, W, 3].

        Raises:
          DataError: if one cannot be read.
        """
        wanted = sorted(set(numbers))
        if not self.source.is_dir():
            numbers_at = {self.places[number]: number for number in wanted}
            yield from _video_frames(self.source, numbers_at)
            return
        for number in wanted:
            yield number, read_image(self.places[number])


def numbered_frames(folder: Path) -> dict[int, Path]:
    """The image files of ``folder`` by the last integer of their stem, ascending.

    Of files with the same number the one with the shortest name counts; the others
    are copies.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if leads_to(entry.is_file)]
    frames = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        if match := _IMAGE.fullmatch(name):
            integers = re.findall(r"[0-9]+", _COPY.sub("", match["stem"]))
            if integers:
                frames.setdefault(int(integers[-1]), folder / name)
    return dict(sorted(frames.items()))


def recording(source: Path, onset: int, offset: int | None) -> Recording:
    """The frames of a folder or a video, numbered as the table numbers them.

    A folder holds the full recording, or onset to offset with the recording's
    numbers; then the numbers are kept. Some copies, and all videos, count from 1 at
    the onset: where the numbers end before the offset and span just as many frames as
    onset to offset, they are moved there. Anything else that begins at 1 may be a
    recording that was cut short, whose frames would get another moment's label.

    Raises:
      DataError: if there is no frame or the source may not be read.
    """
    try:
        if source.is_dir():
            places = numbered_frames(source)
        else:
            places = {index + 1: index for index in range(_video_length(source))}
    except PermissionError as error:
        raise DataError(f"{source.name} may not be read") from error
    if not places:
        raise DataError("its folder holds no frames")
    first, last = next(iter(places)), next(reversed(places))
    spans = offset is not None and last - first == offset - onset
    renumbered = spans and first <= 1 < onset and last < offset
    if renumbered:  # moved and not counted anew: a missing frame stays missing
        places = {number - first + onset: place for number, place in places.items()}
    return Recording(source, places, renumbered)


def read_image(path: Path) -> np.ndarray:
    """Reads an image as RGB.

    By Pillow itself, since imageio's plugin takes twice as long for the same bytes.

    Returns:
      uint8 [H, W, 3]

    Raises:
      DataError: if the file is unreadable, truncated or far too large.
    """
    try:
        with Image.open(path) as image:
            # Decoded first, since convert copies also what is RGB already.
            image.load()
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        what = f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise DataError(f"{path.name} cannot be read: {what}") from error
    except PermissionError as error:
        raise DataError(f"{path.name} cannot be read: permission denied") from error
    except Exception as error:  # damaged files make decoders raise anything
        what = f"it is damaged or no image ({type(error).__name__})"
        raise DataError(f"{path.name} cannot be read: {what}") from error


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Averages the areas of uint8 [H, W, 3] down to [size, size, 3].

    Each pixel counts with the share of it that falls on a new one, so that nothing
    aliases and a motion of a pixel keeps its size. An image that is smaller is
    interpolated.
    """
    shrinks = min(image.shape[:2]) >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)


def _video_length(path: Path) -> int:
    """The frames that a video says it has; those of one that doesn't say are counted.

    Raises:
      DataError: if it is no video, or one that is far too large.
    """
    with _opened(path) as (container, stream):
        if stream.width * stream.height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{path.name} cannot be read: its frames have more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels"
            )
        length = stream.frames
        if length <= 0:
            counted = itertools.islice(container.decode(stream), _LONGEST + 1)
            length = sum(1 for _ in counted)
        if length > _LONGEST:
            raise DataError(f"{path.name} has more than {_LONGEST} frames")
        return length


def _video_frames(
    path: Path, numbers_at: Mapping[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames at these places of a video, with their numbers, in order.

    By PyAV itself, since imageio's plugin converts every frame, needed or not.
    """
    last = max(numbers_at)
    reformatter = (
        VideoReformatter()
    )  # once, since to make one costs more than to use it
    with _opened(path) as (container, stream):
        for place, frame in enumerate(container.decode(stream)):
            if place in numbers_at:
                frame = reformatter.reformat(frame, format="rgb24")
                yield numbers_at[place], frame.to_ndarray()
            if place == last:
                return
    raise DataError(f"{path.name} ends before frame {numbers_at[last]}")


@contextlib.contextmanager
def _opened(path: Path):
    """The container and its first video stream.

    What a decoder raises of a damaged video, whatever it is, becomes DataError.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            # Clips are read side by side already.
            stream.codec_context.thread_count = 1
            yield container, stream
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or no video "
            f"({type(error).__name__})"
        ) from error


def _clips_in(
    root: Path, release: Release
) -> tuple[dict[tuple[str, str], Path], tuple[Path, ...]]:
    clips, doubles = {}, []
    for subject_folder in subfolders(root):
        if canonical_subject(subject_folder.name) is None:
            continue
        folders, videos = _folders_and_videos(subject_folder)
        for source in folders:
            key = release.of_folder(subject_folder.name, source.name)
            if key[0] and clips.setdefault(key, source) != source:
                doubles.append(source)
        for source in videos:  # where there are frames too, they are meant
            key = release.of_folder(subject_folder.name, source.stem)
            if key[0]:
                clips.setdefault(key, source)
    return clips, tuple(doubles)


def _folders_and_videos(parent: Path) -> tuple[list[Path], list[Path]]:
    try:
        folders = subfolders(parent)
        files = sorted(p for p in parent.iterdir() if p.suffix.lower() in _VIDEOS)
    except PermissionError:
        return [], []
    videos = [path for path in files if path.is_file() and path.name[0] != "."]
    return folders, videos


def _names(folder: Path) -> list[str]:
    """A folder's name, then that of the one it is in, for releases of two levels."""
    resolved = folder.resolve()
    return [resolved.name, resolved.parent.name]


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
