"""Preparing and reading records beside plain loops.

``python -m benchmarks.preparation``.

A generated copy of CASME II's raw frames, 640 x 480 JPEG, is prepared by one thread and
by several; the reference is the loop that everybody writes: imageio, Pillow's resize,
the same frames. Then the records are read back, beside decoding the JPEGs of as many
clips. All take turns, so that a machine that slows down slows all.
"""

import contextlib
import csv
import io
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal

import cv2
import imageio.v3 as iio
import numpy as np
import tensorflow_datasets as tfds
import tyro
from PIL import Image
from skimage import data

from datasets import clips, prepare

_LENGTH = 64  # frames of a clip on disk, as many as CASME II has in the middle
_APEX = 32
_CONFIG = clips.ClipConfig(name="paper")
_PICTURES = 48  # different frames; the clips share them by hard links


def main(
    number: int = 120,
    crop: Literal["none", "detect"] = "none",
    repetitions: int = 5,
    file: Path | None = None,
) -> None:
    """Time both.

    Args:
      number: clips of the generated copy.
      crop: whether faces are looked for; the reference never does.
      repetitions: of each, in turn.
      file: a CSV file to add the rows to.
    """
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        folders = _write_copy(folder / "copy", number)
        rows = _compare(
            {
                "plain loop of imageio and resize": lambda: _plain(folders),
                "prepare, 1 thread": lambda: _prepare(folder, crop, 1),
                f"prepare, {cores} threads": lambda: _prepare(folder, crop, cores),
            },
            repetitions,
            number * _CONFIG.frames,
            "frames/s",
        )
        records = _prepare(folder, crop, cores)
        rows += _compare(
            {
                "decoding the JPEGs": lambda: _plain(folders),
                "reading the records": lambda: _read(records),
            },
            repetitions,
            number,
            "clips/s",
        )
    if file is not None:
        _append(file, rows, crop)


def _compare(ways, repetitions: int, amount: int, unit: str) -> list[dict]:
    for way in ways.values():
        way()
    times = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    reference = np.array(next(iter(times.values())))
    rows = []
    for name, seconds in times.items():
        low, middle, high = amount / np.percentile(seconds, (100, 50, 0))
        ratio = np.median(reference / seconds)
        rows.append(
            {"what": name, "unit": unit, "median": f"{middle:.0f}"}
            | {"least": f"{low:.0f}", "most": f"{high:.0f}", "times": f"{ratio:.2f}"}
        )
        print(
            f"{name:34} {middle:7.0f} {unit}  ({low:.0f} to {high:.0f})  "
            f"{ratio:.2f} times the first",
            flush=True,
        )
    return rows


def _write_copy(folder: Path, number: int) -> list[Path]:
    """Frames of a face that moves, and a table; the clips' folders."""
    pool = folder / "pool"
    pool.mkdir(parents=True)
    rng = np.random.default_rng(0)
    picture = cv2.resize(data.astronaut(), (900, 900))
    for index in range(_PICTURES):
        frame = picture[:480, 110 + index : 750 + index].astype(np.float32)
        frame += rng.normal(0, 3, frame.shape)  # the sensor's noise, which JPEGs keep
        Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(
            pool / f"{index}.jpg", quality=92
        )
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]
    header += ["Action Units", "Estimated Emotion"]
    folders, rows = [], []
    for clip in range(number):
        subject, name = f"{1 + clip % 26:02d}", f"EP{clip:03d}"
        folders.append(folder / "CASME2_RAW_selected" / f"sub{subject}" / name)
        folders[-1].mkdir(parents=True)
        for frame in range(1, _LENGTH + 1):
            source = pool / f"{(frame + clip) % _PICTURES}.jpg"
            os.link(source, folders[-1] / f"img{frame}.jpg")
        emotion = ("disgust", "happiness", "surprise")[clip % 3]
        rows.append([subject, name, 1, _APEX, _LENGTH, "4", emotion])
    with (folder / "CASME2-coding-20190701.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folders


def _plain(folders: list[Path]) -> None:
    numbers = clips.window_numbers(
        _APEX, 1, _LENGTH, window=_CONFIG.window, frames=_CONFIG.frames
    )
    size = (_CONFIG.size, _CONFIG.size)
    for folder in folders:
        images = [iio.imread(folder / f"img{number}.jpg") for number in numbers]
        resized = [
            Image.fromarray(image).resize(size, Image.Resampling.BOX)
            for image in images
        ]
        np.stack([np.asarray(image) for image in resized])


def _prepare(folder: Path, crop: str, workers: int) -> Path:
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
    """What prepare says while it works is no part of the table."""
    return contextlib.redirect_stderr(io.StringIO())


def _append(file: Path, rows: list[dict], crop: str) -> None:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    where = {"crop": crop, "cores": len(os.sched_getaffinity(0)), "commit": commit}
    where |= {"machine": platform.processor() or platform.machine()}
    fresh = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0], *where])
        if fresh:
            writer.writeheader()
        writer.writerows(row | where for row in rows)


if __name__ == "__main__":
    tyro.cli(main)
