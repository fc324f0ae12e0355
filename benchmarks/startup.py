"""Reads of records before the first step: ``python -m benchmarks.startup``.

Records of noise are written. Then everything is done that ``train.py`` does with them
between their preparation and the trainer: load them, draw the split and check it for
leaks, compute the fingerprint, and make the run's folder. Each time that TFDS reads and
decodes a record is counted. Rows go to ``benchmarks/results/startup.csv``.
"""

import collections
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow_datasets as tfds
import tyro
from tensorflow_datasets.core.data_sources.base import BaseDataSource

from benchmarks import rows
from datasets import clip_record, shards
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.data import loading, splits
from meranet_jax.data.source_records import Source
from meranet_jax.runs import layout, writer

COLUMNS = ("clips", "frames", "size", "feed", "repetitions", "reads", "reads_per_clip")
COLUMNS += ("seconds", "seconds_least", "seconds_most")

_EMOTIONS = ("disgust", "happiness", "surprise")
_SUBJECTS = 100


class Noise(shards.StreamingBuilder, skip_registration=True):
    """TFDS builder of clips of noise."""

    VERSION = tfds.core.Version("1.0.0")
    builder_config: clip_record.ClipConfig
    number = 0  # of the clips

    def _info(self) -> tfds.core.DatasetInfo:
        features = clip_record.record_features(self.builder_config, _EMOTIONS)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        rng = np.random.default_rng(0)
        shape = self.info.features["clip"].shape  # [T, H, W, C]
        for index in range(self.number):
            clip_id = f"clip{index:06d}"
            clip = rng.integers(0, 256, shape, np.uint8)
            yield (
                clip_id,
                {
                    "clip": clip,
                    "onset_frame": clip[0],
                    "apex_frame": clip[-1],
                    "clip_id": clip_id,
                    "subject": f"s{index // len(_EMOTIONS) % _SUBJECTS:03d}",
                    "emotion": _EMOTIONS[index % len(_EMOTIONS)],
                    "onset": 1,
                    "apex": 20,
                    "offset": 40,
                    "apex_estimated": False,
                },
            )


def main(
    number: int = 10_000,
    frames: int = 16,
    size: int = 28,
    feed: Literal["records", "device"] = "records",
    repetitions: int = 3,
    save: bool = True,
) -> None:
    """Count reads, and measure the time.

    Args:
      number: how many clips.
      frames: of each clip.
      size: height and width of each clip.
      feed: whether the clips stream from their records.
      repetitions: how many starts are timed.
      save: whether to write a row.
    """
    table = rows.Table("startup", COLUMNS, backend="cpu") if save else None
    config = default_config("synthetic", "small")
    config = config.change(frames=frames, size=size, feed=feed)
    counts, seconds = set(), []
    with tempfile.TemporaryDirectory() as name:
        records = write(Path(name), number, config)
        for repetition in range(repetitions):
            runs_dir = str(Path(name) / f"runs{repetition}")
            once = config.change(runs_dir=runs_dir)
            with counted() as reads:
                begin = time.perf_counter()
                start(once, records)
                seconds.append(time.perf_counter() - begin)
            counts.add(reads.total())
            print(f"{reads.total()} reads, {seconds[-1]:.2f} s", flush=True)
    (count,) = counts
    spread = rows.Spread.of(seconds)
    print(f"{number} clips: {count / number:g} reads of each, {spread} s")
    if table:
        row = {"clips": number, "frames": frames, "size": size, "feed": feed}
        row |= {"repetitions": repetitions, "reads": count}
        row |= {"reads_per_clip": f"{count / number:g}"}
        table.append(row | spread.columns("seconds"))


def write(folder: Path, number: int, config: TrainConfig) -> Path:
    """Writes records of noise and returns their folder."""
    clip = clip_record.ClipConfig(name="noise", frames=config.frames, size=config.size)
    builder = Noise(config=clip, data_dir=folder, file_format="array_record")
    builder.number = number
    builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_dir)


@contextlib.contextmanager
def counted() -> Iterator[collections.Counter]:
    """Counts how often TFDS reads and decodes each record meanwhile."""
    read, reads = BaseDataSource.__getitem__, collections.Counter()

    def counting(self, key):
        reads[key] += 1
        return read(self, key)

    BaseDataSource.__getitem__ = counting
    try:
        yield reads
    finally:
        BaseDataSource.__getitem__ = read


def start(config: TrainConfig, records: Path) -> None:
    """Does what ``train.py`` does with prepared records before it makes a trainer."""
    clips = loading.load(
        [Source("noise", records)],
        choose_classes=lambda emotions: {name: (name,) for name in sorted(emotions)},
        size=config.size,
        feed=config.feed,
    )
    split = splits.make(config, clips)
    clips.fingerprint()  # which processes compare
    with writer.RunFolder(
        layout.run_path(config), config, clips, split, [records]
    ) as folder:
        missing = [
            job for job in splits.jobs(split) if not folder.is_finished(job, clips)
        ]
    if not missing:
        raise SystemExit("error: a run that has not begun is finished")


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
