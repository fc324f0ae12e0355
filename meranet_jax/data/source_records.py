"""Reads the records of one or several data sets."""

import concurrent.futures
import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import cores, recipes
from meranet_jax.data import class_sets
from meranet_jax.data.clip_store import ClipStore
from meranet_jax.data.digests import ClipDigest
from meranet_jax.data.records import open_records, report_damage
from meranet_jax.errors import UserError
from meranet_jax.megc2019 import Rule

# Features that each record must have, in addition to its label.
_REQUIRED = {"clip", "clip_id", "subject", "onset", "offset"}

# Number of records that a thread reads in one task, and of threads. Where the flow of a
# record may be missing, which takes far longer than reading it, a task has one record
# and each core a thread. Each thread holds the frames of one record at a time.
_RECORDS_PER_TASK = 32
_READERS = 8


@dataclasses.dataclass(frozen=True)
class Source:
    """The records of one data set, and which of them to load.

    Attributes:
      dataset: name of the data set.
      folder: where ``python -m datasets.prepare`` wrote its records.
      min_frames: minimum number of frames from onset to offset; shorter expressions are
        left out.
      label: record field used as the class label.
      rule: which clips to load, by the rule of MEGC 2019; None for all.
    """

    dataset: str
    folder: Path
    min_frames: int = 1
    label: str = "emotion"
    rule: Rule | None = None

    @property
    def name(self) -> str:
        """The name of the data set without its configuration."""
        return self.dataset.partition("/")[0]


@dataclasses.dataclass(frozen=True)
class Record:
    """A record without its clip.

    Attributes:
      number: index among the records of all sources.
      source: index of the source.
      index: index among the records of the source.
      clip_id: prefixed by the data set's name if there are several.
      subject: prefixed likewise, by the name that stands for the people of the data
        set; see ``recipes.people``.
      emotion: value of the label.
      length: number of frames from onset to offset.
      key_frames_only: whether the recording has no frames but onset, apex and offset.
      exclusion: why the rule of the source leaves it out; None if it does not.
      digest: digests of the clip; None if it is left out by the rule, for its length,
        by its id, or since the input needs more than key frames.
    """

    number: int
    source: int
    index: int
    clip_id: str
    subject: str
    emotion: str
    length: int
    key_frames_only: bool
    exclusion: str | None
    digest: ClipDigest | None


def open_source(source: Source, size: int):
    """Opens records (see ``open_records``) and checks their features and size."""
    info, rows = open_records(source.folder)
    with report_damage(source.folder):
        features = info.features
        if missing := _REQUIRED - features.keys():
            raise ValueError(f"features are missing: {', '.join(sorted(missing))}")
        shape = features["clip"].shape
        fits = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
        if not fits or min(shape) < 1 or features["clip"].np_dtype != np.uint8:
            raise ValueError(
                f"clips are {features['clip'].np_dtype} {shape}, not uint8 [T, S, S, 3]"
            )
    recorded = shape[1]
    if recorded % size:
        sizes = [n for n in range(16, recorded + 1) if recorded % n == 0]
        raise UserError(
            f"--size={size}: the records are {recorded} x {recorded}. Choose one of "
            f"{', '.join(map(str, sizes))}."
        )
    return info, rows


def read_records(
    sources: Sequence[Source],
    opened,
    store: ClipStore,
    leave_out: Collection[str],
    buffer: np.ndarray | None,
    *,
    needs_clip: bool,
) -> list[Record]:
    """Reads every record once, on several threads.

    Args:
      sources: the data sets.
      opened: what ``open_source`` returned for each.
      store: converts records.
      leave_out: clips to leave out, by id.
      buffer: array [N, ...], filled with what is stored for each record that has a
        digest; None if it is not loaded.
      needs_clip: whether the input needs more than the frames at onset and apex.

    Returns:
      N records in the order of the sources.

    Raises:
      UserError: if a record cannot be read, or there is no such label.
    """
    names = [
        _label_names(info, source.label)
        for source, (info, _) in zip(sources, opened, strict=True)
    ]
    positions = [
        (source_index, index)
        for source_index, (_, rows) in enumerate(opened)
        for index in range(len(rows))
    ]

    def read(number: int) -> Record:
        source_index, index = positions[number]
        source, (_, rows) = sources[source_index], opened[source_index]
        prefix = people = ""
        if len(sources) > 1:
            prefix = f"{source.name}/"
            people = f"{recipes.people(source.dataset)}/"
        with report_damage(source.folder):
            row = rows[index]
            label = row[source.label]
            emotion = (
                names[source_index][label] if names[source_index] else label.decode()
            )
            record = Record(
                number,
                source_index,
                index,
                prefix + row["clip_id"].decode(),
                people + row["subject"].decode(),
                emotion,
                int(row["offset"] - row["onset"] + 1),
                bool(row.get("key_frames_only", False)),
                _exclusion(source.rule, row, emotion),
                None,
            )
        if (
            record.exclusion is not None
            or record.length < source.min_frames
            or record.clip_id in leave_out
            or (record.key_frames_only and needs_clip)
        ):
            return record
        stored, digest = store.convert(source_index, index, row)
        if buffer is not None:
            buffer[number] = stored
        return dataclasses.replace(record, digest=digest)

    if store.computes_flow:
        per_task, threads = 1, cores.count()
    else:
        per_task, threads = _RECORDS_PER_TASK, min(_READERS, cores.count())

    def read_task(first: int) -> list[Record]:
        last = min(first + per_task, len(positions))
        return [read(number) for number in range(first, last)]

    readers = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        with store.computing(len(positions)) as track:
            # In order, so that the first of several damaged records is reported.
            tasks = readers.map(read_task, range(0, len(positions), per_task))
            return [record for task in tasks for record in track(task)]
    finally:  # also if the user interrupts it
        readers.shutdown(cancel_futures=True)


def _label_names(info, label: str) -> list[str]:
    """Returns the values of a label by number; empty if it is recorded as text.

    Raises:
      UserError: if there is no such label.
    """
    if label == class_sets.OBJECTIVE_FIELD:
        if label not in info.features:
            raise UserError(
                f"--classes={class_sets.OBJECTIVE}: the records of {info.name} have no "
                f"objective classes (field {label}). Choose other --classes; if its "
                "table has a column of objective classes, prepare it again with this "
                "version."
            )
        return list(class_sets.OBJECTIVE_NAMES)
    labels = [name for name in info.features if name.endswith("emotion")]
    if label not in labels:
        raise UserError(
            f"--label={label}: {info.name} has no such label. Choose one of "
            f"{', '.join(labels)}."
        )
    return list(getattr(info.features[label], "names", []))


def _exclusion(rule: Rule | None, row, emotion: str) -> str | None:
    """Returns why a rule leaves a record out; None if it does not."""
    if rule is None:
        return None
    return rule.exclusion(
        clip_id=row["clip_id"].decode(),
        emotion=emotion,
        onset=int(row["onset"]),
        apex=int(row["apex"]),
        apex_estimated=bool(row["apex_estimated"]),
    )


def read_features(
    sources: Sequence[Source], clip_ids: Collection[str], names: Collection[str]
) -> dict[str, dict[str, object]]:
    """Reads further features of the records of some clips.

    Args:
      sources: the sources from which ``loading.load`` loaded the clips.
      clip_ids: ids of the clips.
      names: of the features.

    Returns:
      The features by clip id and name; features that a record does not have are
      missing.

    Raises:
      UserError: if records cannot be read.
    """
    features = {}
    for source in sources:
        _, rows = open_records(source.folder)
        prefix = f"{source.name}/" if len(sources) > 1 else ""
        for index in range(len(rows)):
            with report_damage(source.folder):
                row = rows[index]
            if (clip_id := prefix + row["clip_id"].decode()) in clip_ids:
                features[clip_id] = {name: row[name] for name in names if name in row}
    return features
