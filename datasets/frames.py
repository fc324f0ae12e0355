"""Folders of frames: found by their layout, numbered, read and resized.

Frames go by their number in the recording and never by the order of their names,
in which img10 stands before img2.
"""

import dataclasses
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from datasets.annotations import canonical_subject, folders_under
from datasets.errors import DataError

# Three folders that a user or an archive puts around the layout's own, which may in
# turn hold itself: Cropped-updated/Cropped/Cropped.
_DEPTH = 6

_IMAGE = re.compile(
    r"(?P<stem>[^.].*?)(?:\.(?:jpe?g|png|bmp|tiff?))+",  # img2977.jpg.jpg exists
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\([0-9]+\)$")  # what file managers append to a second copy


@dataclasses.dataclass(frozen=True)
class Layout:
    """A folder of subjects' folders of clips' folders of frames.

    Attributes:
      name: which of the data set's layouts it is.
      root: the folder that holds the subjects.
      clips: the clip folders by canonical subject and case-folded clip name.
      doubles: folders of a clip that has one in ``clips`` already.
    """

    name: str
    root: Path
    clips: Mapping[tuple[str, str], Path]
    doubles: tuple[Path, ...]

    def folder(self, subject: str, clip: str) -> Path | None:
        """The folder of a clip, None if there is none.

        The name is looked up and never made part of a path, so that no table can
        point outside.
        """
        return self.clips.get((subject, clip.casefold()))


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a clip by their number, ascending.

    Attributes:
      frames: image files by number.
      renumbered: whether the files count from 1 at the onset, so that the numbers here
        are those of the table and not those of the files.
    """

    frames: Mapping[int, Path]
    renumbered: bool

    @property
    def first(self) -> int:
        return next(iter(self.frames))

    @property
    def last(self) -> int:
        return next(reversed(self.frames))


def find_layouts(manual_dir: Path, names: Mapping[str, Sequence[str]]) -> list[Layout]:
    """Every layout under ``manual_dir``, the nearest first.

    Args:
      manual_dir: where to look; itself included.
      names: for each layout the names of its folder, compared without regard to case,
        hyphens and underscores.
    """
    spellings = {
        _normal(spelling): layout for layout, all_ in names.items() for spelling in all_
    }
    found = []
    for folder in folders_under(manual_dir, _DEPTH):
        inside = folder.relative_to(manual_dir).parts
        # From the inside out: what is nearest to the frames says what they are.
        parts = [*reversed(inside), manual_dir.resolve().name]
        name = next((spellings[p] for p in map(_normal, parts) if p in spellings), None)
        if name is None:
            continue
        clips, doubles = _clip_folders(folder)
        if clips:
            found.append(Layout(name, folder, clips, doubles))
    return found


def choose_layout(
    manual_dir: Path,
    names: Mapping[str, Sequence[str]],
    wanted: Sequence[tuple[str, str]],
) -> tuple[Layout, list[str]]:
    """The layout to take, and what a user should know of the choice.

    The first in the order of ``names`` that holds clips which the table names; of two
    of one name, of which one may be another data set's, the one that holds more.

    Args:
      manual_dir: where to look.
      names: as of ``find_layouts``.
      wanted: the subjects and clips that the table names.

    Raises:
      DataError: if no layout holds any of them.
    """
    found = find_layouts(manual_dir, names)
    held = [
        sum(layout.folder(*clip) is not None for clip in wanted) for layout in found
    ]
    order = list(names)
    usable = [index for index, count in enumerate(held) if count]
    if not usable:
        roots = [str(layout.root.relative_to(manual_dir)) for layout in found]
        raise DataError(
            f"No frames of the table's clips were found in {manual_dir}.\n"
            f"Found without any of these clips: {', '.join(roots) or 'nothing'}.\n"
            f"Expected, up to three folders deep: {' or '.join(names)}, with a folder "
            f"for each subject (sub01) and in it one for each clip ({wanted[0][1]}).\n"
            "Unpack the archives there, or give the folder in which they are unpacked."
        )
    best = min(usable, key=lambda index: (order.index(found[index].name), -held[index]))
    notes = [
        f"{layout.root.relative_to(manual_dir)} ({count} of the table's {len(wanted)} "
        "clips) was not read"
        for index, (count, layout) in enumerate(zip(held, found, strict=True))
        if index != best
    ]
    return found[best], notes


def numbered_frames(folder: Path) -> dict[int, Path]:
    """The image files of ``folder`` by the last integer of their stem, ascending.

    Of files with the same number the one with the shortest name counts; the others
    are copies.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    frames = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        if match := _IMAGE.fullmatch(name):
            integers = re.findall(r"[0-9]+", _COPY.sub("", match["stem"]))
            if integers:
                frames.setdefault(int(integers[-1]), folder / name)
    return dict(sorted(frames.items()))


def recording(folder: Path, onset: int, offset: int) -> Recording:
    """The frames of ``folder``, numbered as the table numbers them.

    A folder holds the full recording, or onset to offset with the recording's
    numbers; then the numbers are kept. Some copies count from 1 at the onset: where
    the numbers end before the offset and span just as many frames as onset to offset,
    they are moved there. Anything else that begins at 1 may be a recording that was
    cut short, whose frames would get another moment's label.

    Raises:
      DataError: if there is no frame.
    """
    frames = numbered_frames(folder)
    if not frames:
        raise DataError("its folder holds no frames")
    first, last = next(iter(frames)), next(reversed(frames))
    spans = last - first == offset - onset
    renumbered = first <= 1 < onset and last < offset and spans
    if renumbered:  # moved and not counted anew: a missing frame stays missing
        frames = {number - first + onset: path for number, path in frames.items()}
    return Recording(frames, renumbered)


def read_clip(
    frames: Mapping[int, Path], numbers: Iterable[int], size: int
) -> np.ndarray:
    """Reads the frames of these numbers, each file once.

    Returns:
      uint8 [T, size, size, 3]

    Raises:
      DataError: if one is missing or cannot be read.
    """
    images = {}
    for number in numbers:
        if number not in frames:
            raise DataError(f"frame {number} is missing")
        if number not in images:
            images[number] = read_frame(frames[number], size)
    return np.stack([images[number] for number in numbers])


def read_frame(path: Path, size: int) -> np.ndarray:
    """Reads an image as RGB and averages its areas down to ``size`` by ``size``.

    Returns:
      uint8 [size, size, 3]

    Raises:
      DataError: if the file is unreadable, truncated or far too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = iio.imread(path, plugin="pillow", index=0, mode="RGB")
    except Exception as error:  # damaged files make decoders raise anything
        cause = error.__cause__ or error  # imageio hides what Pillow raised
        if isinstance(
            cause, (Image.DecompressionBombWarning, Image.DecompressionBombError)
        ):
            what = f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        else:
            what = f"it is damaged or no image ({type(cause).__name__})"
        raise DataError(f"{path.name} cannot be read: {what}") from error
    # A box filter of the scale's width weighs every pixel once, so nothing aliases.
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BOX)
    return np.asarray(resized)


def _clip_folders(
    root: Path,
) -> tuple[dict[tuple[str, str], Path], tuple[Path, ...]]:
    clips, doubles = {}, []
    for subject_folder in _folders(root):
        subject = canonical_subject(subject_folder.name)
        if subject is None:
            continue
        for folder in _folders(subject_folder):
            if clips.setdefault((subject, folder.name.casefold()), folder) != folder:
                doubles.append(folder)
    return clips, tuple(doubles)


def _folders(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        ]
    return [parent / name for name in sorted(names)]


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
