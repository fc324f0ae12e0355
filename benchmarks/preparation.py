"""Preparing and reading records, compared with simple loops.

``python -m benchmarks.preparation``.

A generated copy of CASME II's raw frames, 640 x 480 JPEG, is prepared with one thread
and with several. The reference is a loop over the same frames with imageio and Pillow's
resize. Then the records are read, compared with decoding the JPEG files of the same
clips. All are measured in turns.
"""

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import imageio.v3 as iio
import numpy as np
import tensorflow_datasets as tfds
import tyro
from PIL import Image
from skimage import data

from benchmarks import rows
from datasets import prepare
from datasets.clip_record import ClipConfig
from meranet_jax import cores
from meranet_jax.video import sampling

_LENGTH = 64  # frames of a clip on disk, about the median of CASME II
_ONSET, _APEX = 1, 32
_CONFIG = ClipConfig(name="paper")
SIZE = _CONFIG.size  # height and width of a clip, pixels
_DISTINCT_FRAMES = 48  # the clips share them by hard links

_COLUMNS = ("what", "crop", "unit", "rate", "rate_least", "rate_most")
_COLUMNS += ("times", "times_least", "times_most")


def main(
    number: int = 120,
    crop: Literal["none", "detect"] = "none",
    repetitions: int = 5,
    save: bool = True,
) -> None:
    """Measure preparing and reading.

    Args:
      number: Number of clips of the generated copy.
      crop: Whether faces are detected; the reference never does.
      repetitions: Number of measurements of each, in turns.
      save: Whether to write rows to benchmarks/results/preparation.csv.
    """
    table = rows.Table("preparation", _COLUMNS, backend="cpu") if save else None
    threads = cores.count()
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        folders = write_copy(folder / "copy", number)
        measured = _compare(
            {
                "plain loop of imageio and resize": lambda: _plain(folders),
                "prepare, 1 thread": lambda: prepare_copy(folder, crop, 1),
                f"prepare, {threads} threads": lambda: prepare_copy(
                    folder, crop, threads
                ),
            },
            repetitions,
            number * len(numbers()),
            "frames/s",
        )
        records = prepare_copy(folder, crop, threads)
        measured += _compare(
            {
                "decoding the JPEGs": lambda: _plain(folders),
                "reading the records": lambda: _read(records),
            },
            repetitions,
            number,
            "clips/s",
        )
    if table:
        for row in measured:
            table.append(row | {"crop": crop})


def _compare(
    ways: dict[str, Callable[[], object]], repetitions: int, amount: int, unit: str
) -> list[dict[str, object]]:
    for way in ways.values():
        way()
    times = rows.alternate(ways, repetitions)
    reference = next(iter(times.values()))
    measured = []
    for name, seconds in times.items():
        rate = rows.Spread.of(amount / seconds)
        faster = rows.Spread.of(reference / seconds)
        measured.append(
            {"what": name, "unit": unit}
            | rate.columns("rate")
            | faster.columns("times")
        )
        print(
            f"{name:34} {rate.median:7.0f} {unit}  ({rate.least:.0f} to "
            f"{rate.most:.0f})  {faster.median:.2f} times the first",
            flush=True,
        )
    return measured


def write_copy(
    folder: Path, number: int, shape: tuple[int, int] = (640, 480)
) -> list[Path]:
    """Writes frames of a moving face and a table.

    Args:
      folder: folder of the copy.
      number: number of clips.
      shape: width and height of the frames, pixels.

    Returns:
      The folders of the clips.
    """
    width, height = shape
    pool = folder / "pool"
    pool.mkdir(parents=True)
    rng = np.random.default_rng(0)
    side = round(900 * max(width / 640, height / 480))
    left = round(110 * width / 640)
    picture = cv2.resize(data.astronaut(), (side, side))
    for index in range(_DISTINCT_FRAMES):
        frame = picture[:height, left + index : left + width + index].astype(np.float32)
        frame += rng.normal(0, 3, frame.shape)  # like the noise of a sensor
        Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(
            pool / f"{index}.jpg", quality=92
        )
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]
    header += ["Action Units", "Estimated Emotion"]
    folders, lines = [], []
    for clip in range(number):
        subject, name = f"{1 + clip % 26:02d}", f"EP{clip:03d}"
        folders.append(folder / "CASME2_RAW_selected" / f"sub{subject}" / name)
        folders[-1].mkdir(parents=True)
        for frame in range(1, _LENGTH + 1):
            source = pool / f"{(frame + clip) % _DISTINCT_FRAMES}.jpg"
            os.link(source, folders[-1] / f"img{frame}.jpg")
        emotion = ("disgust", "happiness", "surprise")[clip % 3]
        lines.append([subject, name, _ONSET, _APEX, _LENGTH, "4", emotion])
    with (folder / "CASME2-coding-20190701.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return folders


def numbers() -> list[int]:
    """Returns the numbers of the frames that a record is made from."""
    window = sampling.window_frame_numbers(
        _APEX, 1, _LENGTH, window=_CONFIG.window, frames=_CONFIG.frames
    )
    return sorted({_ONSET, _APEX, *window.tolist()})


def _plain(folders: list[Path]) -> None:
    wanted = numbers()
    size = (SIZE, SIZE)
    for folder in folders:
        images = [iio.imread(folder / f"img{number}.jpg") for number in wanted]
        resized = [
            Image.fromarray(image).resize(size, Image.Resampling.BOX)
            for image in images
        ]
        np.stack([np.asarray(image) for image in resized])


def prepare_copy(folder: Path, crop: str, workers: int) -> Path:
    """Prepares the copy in ``folder``; returns the folder of the records."""
    return prepare.prepare(
        "casme2",
        manual_dir=folder / "copy",
        data_dir=tempfile.mkdtemp(dir=folder),
        workers=workers,
        options=prepare.Options(crop=crop),
    )


def _read(records: Path) -> None:
    for _ in tfds.builder_from_directory(records).as_data_source(split="train"):
        pass


def _quiet():
    """Hides the progress output of preparing."""
    return contextlib.redirect_stderr(io.StringIO())


if __name__ == "__main__":
    tyro.cli(main)
