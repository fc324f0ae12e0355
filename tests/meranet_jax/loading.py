"""Clips and configurations for tests."""

import hashlib
import json
import time

import numpy as np

from meranet_jax.config import TrainConfig
from meranet_jax.data import loading
from meranet_jax.data.source_records import Source

CLASSES = ("disgust", "happiness", "surprise")


def load(*sources, classes=CLASSES, size=16, **options):
    """Loads clips from folders or sources, by default with a class for each emotion."""
    sources = [s if isinstance(s, Source) else source(s) for s in sources]
    if not callable(classes):
        classes = {name: (name,) for name in classes}
        options["choose_classes"] = lambda emotions: classes
    else:
        options["choose_classes"] = classes
    return loading.load(sources, size=size, **options)


def source(folder, name="synthetic", **options):
    return Source(name, folder, **options)


def smallest(runs_dir, **changes):
    """Returns a small configuration: four channels, one block, two epochs."""
    values = {"width": 4, "stage_sizes": (1,), "size": 16, "epochs": 2, "devices": 1}
    return TrainConfig.from_flags(runs_dir=str(runs_dir), **values | changes)


def first_fingerprint(clips):
    """Computes a fingerprint of the first version."""
    digest = hashlib.blake2b(digest_size=16)
    for clip in clips.clips:
        digest.update(clip.tobytes())
    rest = (clips.labels.tolist(), clips.clip_ids, clips.subjects, clips.clips.shape)
    digest.update(json.dumps(rest).encode())
    return digest.hexdigest()


def clips_of(labels, subjects=None, frames=None):
    """Makes clips with labels, by default with a subject and a pixel for each."""
    labels = np.asarray(labels, np.int32)
    ids = tuple(f"clip{index:03d}" for index in range(len(labels)))
    names = "abcdef"[: labels.max() + 1]
    if frames is None:
        frames = np.arange(len(ids), dtype=np.uint32).view(np.uint8)
        frames = frames.reshape(-1, 1, 1, 1, 4)
    return loading.Clips(
        frames,
        labels,
        ids,
        ids if subjects is None else tuple(subjects),
        ("tiny",) * len(ids),
        tuple(names[label] for label in labels),
        {name: (name,) for name in names},
        {},
    )


def wait_for_message(text, capsys):
    """Waits until a text was written to stderr; returns everything that was."""
    written, end = "", time.monotonic() + 30
    while text not in written:
        assert time.monotonic() < end, written
        time.sleep(0.05)
        written += capsys.readouterr().err
    return written
