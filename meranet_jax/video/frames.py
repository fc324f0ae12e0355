"""Reading of numbered frames from a folder of images or from a video.

Frames are identified by their number in the recording, never by the order of their file
names, in which img10 precedes img2.
"""

import contextlib
import dataclasses
import filecmp
import os
import re
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from pathlib import Path

import numpy as np

from meranet_jax.errors import DataError
from meranet_jax.video.images import read_image
from meranet_jax.video.video_file import FrameList, list_frames, read_frames

_IMAGE = re.compile(
    r"(?P<stem>[^.].*?)(?:\.(?:jpe?g|png|bmp|tiff?|webp))+",  # img2977.jpg.jpg exists
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\([0-9]+\)$")  # the suffix of a file manager's second copy
_SIZE = re.compile(r"[\s_-]*[0-9]+x[0-9]+$", re.IGNORECASE)  # img46_112x112
_INTEGER = re.compile(r"[0-9]+")
_KEY_FRAME = re.compile(r"(?:.*[\s_-])?(onset|apex|offset)", re.IGNORECASE)

# Largest number of consecutive missing frames that is bridged. A longer gap ends the
# recording.
_MAX_GAP = 2

# Mean difference in grey levels between a picture and its compressed copy
_COMPRESSION_ERROR = 4

# Files whose first number is at most this may be numbered from 1, with some files lost
# at the start.
_MAX_FIRST_NUMBER = 5


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a folder or a video, by their number in ascending order.

    Attributes:
      source: the folder or the video file.
      locations: for each frame number the image file, or what identifies the frame in
        the video.
      renumbered: whether the source numbers its frames from 1 at the onset, so that the
        numbers here were shifted to those of the annotation table.
      video: what the video says of its frames; None for a folder.
    """

    source: Path
    locations: Mapping[int, Path | int]
    renumbered: bool
    video: FrameList | None = None

    @property
    def first(self) -> int:
        """Number of the first frame."""
        return next(iter(self.locations))

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return next(reversed(self.locations))

    def contiguous_run(self, number: int) -> "Recording | None":
        """Returns the run of frames that contains ``number``, None if there is none.

        Gaps of up to two frames are bridged. A longer gap ends the run, since the
        frames after it may belong to another expression.
        """
        for run in contiguous_runs(self.locations):
            if run[0] <= number <= run[-1]:
                locations = {n: self.locations[n] for n in run}
                return dataclasses.replace(self, locations=locations)
        return None

    def nearest(self, number: int) -> int:
        """Returns the nearest existing frame number; the lower one if two are."""
        if number in self.locations:
            return number
        return min(self.locations, key=lambda n: (abs(n - number), n))

    def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Reads the frames with these numbers, each once, in ascending order.

        Yields:
          The frame number and the image, uint8 [H, W, 3].

        Raises:
          DataError: if a frame cannot be read.
        """
        wanted = sorted(set(numbers))
        if self.video is not None:
            numbers_at = {self.locations[number]: number for number in wanted}
            yield from read_frames(
                self.source, numbers_at, keyed_by=self.video.keyed_by
            )
            return
        for number in wanted:
            yield number, read_image(self.locations[number])


def contiguous_runs(numbers: Iterable[int]) -> list[list[int]]:
    """Divides ascending frame numbers where more than two of them are missing."""
    runs: list[list[int]] = []
    for number in numbers:
        if not runs or number - runs[-1][-1] > _MAX_GAP + 1:
            runs.append([])
        runs[-1].append(number)
    return runs


def numbered_frames(folder: Path) -> dict[int, Path]:
    """Returns the image files of a folder by frame number, ascending.

    The frame number is the integer in the file's stem in which the files differ most,
    and of equal ones the last: 46 in ``img46_0``, ``img46_112x112`` and ``EP03_2-46``.
    If several files have the same number, the one with the shortest name is used.
    """
    return {number: paths[0] for number, paths in _images_by_number(folder).items()}


def is_image_name(name: str) -> bool:
    """Returns whether a file with this name may be a frame."""
    return _IMAGE.fullmatch(name) is not None


def _images_by_number(
    folder: Path, needed: Set[int] = frozenset()
) -> dict[int, list[Path]]:
    """Returns the image files of each number, ascending, those of short names first.

    Args:
      folder: folder of a clip.
      needed: numbers that must be there. They decide if two integers in the names
        differ equally, as in ``img46_45`` and ``img47_46``.

    Raises:
      DataError: if they do not decide.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if false_on_os_error(entry.is_file)]
    # Files whose names are alike except for their integers
    groups: dict[str, list[tuple[list[int], str]]] = {}
    stems = {m.string: m["stem"] for m in map(_IMAGE.fullmatch, names) if m}
    # If all have a number in parentheses, it is not that of a copy.
    numbered = all(_COPY.search(stem) for stem in stems.values())
    for name, stem in stems.items():
        stem = _SIZE.sub("", stem if numbered else _COPY.sub("", stem))
        if stem:
            if integers := [int(digits) for digits in _INTEGER.findall(stem)]:
                alike = groups.setdefault(_INTEGER.sub("0", stem), [])
                alike.append((integers, name))
    frames: dict[int, list[Path]] = {}
    for alike in groups.values():
        columns = [set(column) for column in zip(*(n for n, _ in alike), strict=True)]
        most = max(map(len, columns))
        equal = [i for i, column in enumerate(columns) if len(column) == most]
        last = max(equal)
        if needed and most > 1:
            span = (min(needed), max(needed))
            spanning = [i for i in equal if (min(columns[i]), max(columns[i])) == span]
            # A number may be missing.
            fitting = [i for i in equal if 2 * len(needed & columns[i]) >= len(needed)]
            last = max(spanning or fitting or equal)
            if len({frozenset(columns[i]) for i in spanning or fitting}) > 1:
                raise DataError(
                    "its images have several numbers that count, such as "
                    f"{alike[0][1]}: leave only that of the frame in their names"
                )
        for integers, name in alike:
            frames.setdefault(integers[last], []).append(folder / name)
    for paths in frames.values():
        paths.sort(key=lambda path: (len(path.name), path.name))
    return dict(sorted(frames.items()))


def _check_unique(frames: Mapping[int, Sequence[Path]]) -> None:
    """Checks that a number does not have several different images.

    Files with the same content are copies, and so are files of several formats with the
    same name and picture.

    Raises:
      DataError: if it does, such as frames of several faces, or two series.
    """
    several = (
        (number, first, other)
        for number, (first, *others) in frames.items()
        for other in others
    )
    formats: dict[tuple[str, str], bool] = {}  # whether their pictures are the same
    for number, first, other in several:
        try:
            if filecmp.cmp(first, other, shallow=False):
                continue
            if first.stem == other.stem:
                key = first.suffix, other.suffix
                if key not in formats:
                    formats[key] = _same_picture(first, other)
                if formats[key]:
                    continue
        except (OSError, DataError):  # reported when it is read
            continue
        raise DataError(
            f"its images {first.name} and {other.name} both have the number {number}, "
            "and differ: keep one of them"
        )


def _same_picture(first: Path, other: Path) -> bool:
    """Returns whether two images differ only as by their compression."""
    one, two = read_image(first), read_image(other)
    if one.shape != two.shape:
        return False
    return float(np.abs(one.astype(np.int16) - two).mean()) < _COMPRESSION_ERROR


def _named_key_frames(
    folder: Path, onset: int, apex: int, offset: int | None
) -> dict[int, Path]:
    """Returns images such as ``apex.jpg`` and ``EP02_01f_onset.png`` by frame number.

    Args:
      folder: folder of a clip.
      onset: frame number of the onset.
      apex: frame number of the apex.
      offset: frame number of the offset, None if the table does not give it.

    Returns:
      Empty if there is none of onset or apex, or there are other images, too.
    """
    numbers = {"onset": onset, "apex": apex, "offset": offset}
    found: dict[int, Path] = {}
    of_named: set[tuple[str, ...]] = set()
    others: set[tuple[str, ...]] = set()
    for path in sorted(folder.iterdir()):
        if (image := _IMAGE.fullmatch(path.name)) is None:
            continue
        integers = tuple(_INTEGER.findall(image["stem"]))
        named = _KEY_FRAME.fullmatch(_COPY.sub("", image["stem"]))
        if named is None:
            others.add(integers)
        elif (number := numbers[named[1].lower()]) is not None:
            of_named.add(integers)
            found.setdefault(number, path)
    # Other images may be frames if they have numbers of their own.
    if not {onset, apex} <= found.keys() or others - of_named - {()}:
        return {}
    return dict(sorted(found.items()))


def list_recording(source: Path, needed: Set[int] = frozenset()) -> Recording:
    """Lists all frames of a folder or a video with their own numbers.

    Args:
      source: a folder of images or a video file.
      needed: numbers of frames that must be there, which decide if several integers in
        the names of images count.

    Raises:
      DataError: if there are no frames, the source is not readable, or its numbers are
        ambiguous.
    """
    video = None
    locations: Mapping[int, Path | int]
    with _permission_errors(source):
        if source.is_dir():
            images = _images_by_number(source, needed)
            _check_unique(images)
            locations = {number: paths[0] for number, paths in images.items()}
        else:
            video = list_frames(source)
            locations = video.keys
    if not locations:
        raise DataError("its folder contains no frames")
    return Recording(source, locations, renumbered=False, video=video)


@contextlib.contextmanager
def _permission_errors(source: Path):
    """Raises DataError if the permission to read is missing."""
    try:
        yield
    except PermissionError as error:
        raise DataError(f"{source.name} cannot be read: permission denied") from error


def open_recording(
    source: Path,
    onset: int,
    offset: int | None,
    *,
    apex: int | None = None,
    full_recording: bool,
    single_expression: bool = True,
) -> Recording:
    """Lists the frames of a folder or a video with the annotation table's numbers.

    Usually the source contains the full recording, or the frames from onset to offset
    with the recording's numbers; these numbers are kept. Some copies, and videos of a
    single expression, are numbered from 1 at the onset. If such numbers end before the
    offset and span as many frames as the expression, they are shifted to the onset.

    Any other source that starts near 1 and ends before the offset is ambiguous. In a
    release of full recordings it is a truncated recording, whose numbers are right. In
    a release of expressions some frames are missing at an unknown end, and guessing
    would assign frames to the wrong moment.

    Args:
      source: a folder of images or a video file.
      onset: frame number of the onset.
      offset: frame number of the offset, None if the table does not give it.
      apex: frame number of the apex, None if the table does not give it.
      full_recording: whether the release contains full recordings, not only the frames
        from onset to offset.
      single_expression: whether the source contains one expression only, so that its
        numbers may be shifted.

    Raises:
      DataError: if there are no frames, the source is not readable, or its numbers are
        ambiguous.
    """
    if apex is not None and single_expression and source.is_dir():
        with _permission_errors(source):
            named = _named_key_frames(source, onset, apex, offset)
        if named:
            return Recording(source, named, renumbered=False)
    found = list_recording(source, {n for n in (onset, apex, offset) if n is not None})
    locations = found.locations
    first, last = next(iter(locations)), next(reversed(locations))
    if offset is None:  # shift only what cannot be the recording's numbers
        renumbered = (
            single_expression and not full_recording and first <= 1 and last < onset
        )
    else:
        same_span = last - first == offset - onset
        renumbered = (
            single_expression and same_span and first <= 1 < onset and last < offset
        )
    if renumbered:  # shifted, not counted again: a missing frame stays missing
        locations = {n - first + onset: location for n, location in locations.items()}
    elif not full_recording and first <= _MAX_FIRST_NUMBER and first < onset:
        if offset is None or last < offset:
            end = "an unknown offset" if offset is None else offset
            raise DataError(
                f"its {len(locations)} files are numbered {first} to {last}, but the "
                f"expression's frames are {onset} to {end}: the files cannot be "
                "matched to frame numbers"
            )
    return dataclasses.replace(found, locations=locations, renumbered=renumbered)


def false_on_os_error(check: Callable[[], bool]) -> bool:
    """Calls ``is_dir`` or ``is_file`` of an entry; False if that raises OSError.

    A symbolic link to itself, for example, is neither a folder nor a file.
    """
    try:
        return check()
    except OSError:
        return False
