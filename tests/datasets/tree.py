"""Images, videos and tables of generated copies of the licensed data sets.

The colours of each image encode the index of its clip and its frame number, so that
``read_colours`` identifies the frame after resizing or compression.
"""

import csv
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import openpyxl
import xlwt
from PIL import Image

# Height and width of the images: as small as possible for three bands of colour that
# survive JPEG and resizing. The bands of RAW match the chroma blocks of a video.
CROPPED, RAW = (30, 24), (48, 64)

# Number of levels per channel that survive JPEG; three channels encode 512 values.
_LEVELS = 8
_COLOURS = _LEVELS**3

Cells = Sequence[Sequence[object]]


def frame_image(clip: int, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns an image that encodes its clip and frame number.

    Args:
      clip: index of the clip, below 512.
      number: frame number, below 512 ** 2.
      shape: height and width.

    Returns:
      uint8 [H, W, 3] with three bands, from top to bottom: the clip, the lower part of
      the frame number and its higher part.
    """
    height, width = shape
    high, low = divmod(number, _COLOURS)
    image = np.empty((height, width, 3), np.uint8)
    for band, value in enumerate((clip, low, high)):
        image[height * band // 3 : height * (band + 1) // 3] = _colour(value)
    return image


def read_colours(image: np.ndarray) -> tuple[int, int]:
    """Decodes the index of the clip and the frame number from uint8 [H, W, 3]."""
    height, width, _ = image.shape
    clip, low, high = (
        int(
            (image[height * middle // 6, width // 2].astype(int) // 32)
            @ _LEVELS ** np.arange(3)
        )
        for middle in (1, 3, 5)
    )
    return clip, low + _COLOURS * high


def grey_image(clip: int, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns a grey image that encodes its clip and frame number.

    The three levels of each colour of ``frame_image`` are next to each other.

    Returns:
      uint8 [H, W].
    """
    image = frame_image(clip, number, shape)  # [H, W, 3], with equal columns
    width = shape[1]
    channels = np.arange(width) * 3 // width
    return np.ascontiguousarray(image[:, np.arange(width), channels])


def read_greys(image: np.ndarray) -> tuple[int, int]:
    """Decodes what ``grey_image`` encodes from uint8 [H, W, 3]."""
    width = image.shape[1]
    levels = [image[:, width * middle // 6, 0] for middle in (1, 3, 5)]
    columns = np.stack(levels, axis=-1)  # [H, 3]
    return read_colours(np.repeat(columns[:, None], 3, axis=1))


@functools.lru_cache(maxsize=40_000)  # all frames of one release
def _file(
    clip: int, number: int, shape: tuple[int, int], suffix: str, grey: bool
) -> bytes:
    """Returns the file of an image, which several releases contain."""
    if grey:
        image = grey_image(clip, number, shape)
    else:
        image = frame_image(clip, number, shape)[..., ::-1]
    # Several times as fast as Pillow for such a small image
    _, file = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return file.tobytes()


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes a JPEG, whatever the suffix."""
    # Not with imageio, which takes several times as long for such a small image.
    Image.fromarray(image).save(path, "JPEG", quality=90)


def write_clip(
    folder: Path,
    clip: int,
    names: Mapping[int, str],
    shape: tuple[int, int],
    *,
    grey: bool = False,
) -> None:
    """Writes a folder of frames, with the hidden files that file managers add.

    Args:
      folder: folder of the clip.
      clip: index of the clip.
      names: file names by frame number.
      shape: height and width.
      grey: whether the images are those of ``grey_image``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Thumbs.db").write_bytes(b"junk")
    (folder / ".DS_Store").write_bytes(b"junk")
    for number, name in names.items():
        suffix = ".bmp" if name.endswith(".bmp") else ".jpg"
        (folder / name).write_bytes(_file(clip, number, shape, suffix, grey))


def write_video(path: Path, images: Sequence[np.ndarray], *, fps: int = 30) -> None:
    """Writes uint8 [H, W, 3] images as a Motion JPEG video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = images[0].shape
    # Not with imageio, which takes ten times as long for each frame.
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=fps, width=width, height=height)
        stream.pix_fmt = "yuvj420p"
        stream.bit_rate = 10_000_000  # high enough to preserve the colours
        stream.codec_context.thread_count = (
            1  # starting another takes as long as encoding a clip
        )
        for image in images:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())


def write_xlsx(
    path: Path,
    rows: Cells,
    sheet: str = "Sheet1",
    *,
    others: Mapping[str, Cells] | None = None,
) -> None:
    """Writes ``rows`` to ``sheet``, and ``others`` to further sheets; None is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, cells in {sheet: rows, **(others or {})}.items():
        page = book.create_sheet(name)
        for row in cells:
            page.append(list(row))
    book.save(path)
    _write_lock(path)


def write_xls(path: Path, rows: Cells, sheet: str = "Sheet1") -> None:
    """Writes a genuine .xls file, the binary format before 2007."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = xlwt.Workbook(encoding="utf-8")
    page = book.add_sheet(sheet)
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if value is not None:
                page.write(number, column, value)
    book.save(str(path))
    _write_lock(path)


def write_csv(path: Path, rows: Cells) -> None:
    """Writes comma-separated text; None is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _write_lock(path: Path) -> None:
    # The file that a spreadsheet program adds for an open table.
    path.with_name(f"~${path.name}").write_bytes(b"\x05owner")


@functools.cache
def _colour(value: int) -> np.ndarray:
    if not 0 <= value < _COLOURS:
        raise ValueError(f"{value} does not fit the colours of an image")
    return value // _LEVELS ** np.arange(3) % _LEVELS * 32 + 16


def touch(folder: Path, *names: str) -> None:
    """Creates empty files below ``folder``, with their folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
