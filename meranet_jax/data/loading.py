"""Reads records into arrays: the clips of an experiment."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from meranet_jax.data import machine
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.digests import ClipDigest, digest_of
from meranet_jax.data.records import damage_told, open_records
from meranet_jax.errors import UserError

# What a record must have, beside its label.
_NEEDED = {"clip", "clip_id", "subject", "onset", "offset"}

# The share of this machine's memory that clips may fill.
_SHARE = 0.5

# Records that a thread reads in one task.
_TASK = 32

# The version of fingerprints, which they begin with. Those of the first version have no
# such prefix.
_VERSION = "2:"


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of an experiment, in the order of their ids.

    Attributes:
      clips: uint8 [N, T, H, W, 3]; in memory, or ``Recorded``.
      labels: int32 [N], indices into ``classes``.
      clip_ids: N names, each once; of several data sets with theirs in front.
      subjects: N names, likewise.
      datasets: N names, the data set of each clip.
      emotions: N names, as their tables say.
      classes: the emotions of each class.
      left_out: how many of the data sets' clips are not here, by reason.
    """

    clips: "np.ndarray | Recorded"
    labels: np.ndarray
    clip_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    emotions: tuple[str, ...]
    classes: ClassSet
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.clip_ids)

    @functools.cached_property
    def digests(self) -> tuple[ClipDigest, ...]:
        """The digests of each clip.

        ``load`` computes them while it reads the records. They are computed from the
        pixels for clips that were made in another way, ``dataclasses.replace`` among
        them, since it copies fields only.
        """
        return tuple(map(digest_of, self.clips))

    def fingerprint(self) -> str:
        """Returns a digest of everything in the clips that results depend on."""
        pixels = (digest.clip for digest in self.digests)
        return _VERSION + self._fingerprint(pixels)

    def has_fingerprint(self, saved: object) -> bool:
        """Returns whether a fingerprint that a run has saved is that of these clips.

        Fingerprints of the first version can only be compared by reading all pixels.
        """
        if isinstance(saved, str) and ":" not in saved:
            return saved == self._fingerprint(clip.tobytes() for clip in self.clips)
        return saved == self.fingerprint()

    def _fingerprint(self, pixels: Iterable[bytes]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for of_clip in pixels:
            digest.update(of_clip)
        said = (self.labels.tolist(), self.clip_ids, self.subjects, self.clips.shape)
        digest.update(json.dumps(said).encode())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the clips of one data set are, and which of them are taken.

    Attributes:
      dataset: its name.
      folder: where ``python -m datasets.prepare`` wrote its records.
      min_frames: leave out expressions of fewer frames, onset to offset.
      label: the feature whose values are told apart.
    """

    dataset: str
    folder: Path
    min_frames: int = 1
    label: str = "emotion"


class Recorded:
    """Clips that are read from their records whenever they are asked for.

    Attributes:
      shape: [N, T, H, W, 3].
    """

    def __init__(self, read: Callable[[int], np.ndarray], shape: Sequence[int]):
        """``read`` gives the clip of an index, from any thread."""
        self._read = read
        self.shape = tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        if not 0 <= index < len(self):
            raise IndexError(index)  # which ends an iteration
        return self._read(index)


@dataclasses.dataclass(frozen=True)
class _Record:
    """A record without its clip.

    Attributes:
      number: its place among the records of all sources.
      source: the number of its source.
      index: its place in that source.
      clip_id: with the data set's name in front if there are several.
      subject: likewise.
      emotion: the value of the label.
      length: frames of the expression, onset to offset.
      digest: of its clip; None if it is left out for its length or by its id.
    """

    number: int
    source: int
    index: int
    clip_id: str
    subject: str
    emotion: str
    length: int
    digest: ClipDigest | None


def load(
    sources: Sequence[Source],
    *,
    choose: Callable[[Collection[str]], ClassSet],
    size: int,
    leave_out: Collection[str] = (),
    feed: str = "auto",
) -> Clips:
    """Reads the records of one or several prepared data sets, each record once.

    Subjects of several data sets are kept apart by their data set's name.

    Clips that are kept in memory are held there once: the array has room for every
    record at first, and is put in order and shortened in place.

    Args:
      sources: the data sets.
      choose: the classes, given all emotions that there are.
      size: H and W of the result; clips are averaged down by a whole number.
      leave_out: clips to leave out, by id.
      feed: ``"records"``: leave the clips in their records. ``"auto"``: so if they
        would fill half of this machine's memory, with the clips that are left out
        counted, which are not known before the records are read.

    Raises:
      UserError: if records cannot be read, they have no such label, a class has no
        clip, a clip to leave out is not there, the size does not divide that of the
        records, or the clips of two data sets differ in shape.
    """
    opened = [_open(source, size) for source in sources]
    shape = _common_shape(sources, opened, size)
    slots = None
    most = (sum(len(rows) for _, rows in opened), *shape)
    if feed == "device" or (feed == "auto" and _fit_in_memory(most)):
        slots = np.empty(most, np.uint8)
    records = _read_once(sources, opened, size, leave_out, slots)
    classes = choose({record.emotion for record in records})
    class_of = {e: index for index, es in enumerate(classes.values()) for e in es}
    if absent := set(leave_out) - {record.clip_id for record in records}:
        raise UserError(
            f"--leave_out: there is no clip {sorted(absent)[0]}; {records[0].clip_id} "
            "is one, for example."
        )

    kept, left_out = [], {}
    for source, (info, _) in zip(sources, opened, strict=True):
        if unrecorded := len((info.metadata or {}).get("left_out", [])):
            reason = "no record of it; python -m datasets.prepare lists why"
            left_out[_of(source, sources, reason)] = unrecorded
    for record in records:
        source = sources[record.source]
        if record.emotion not in class_of:
            reason = f"{record.emotion}, not among the classes"
        elif record.length < source.min_frames:
            reason = f"fewer than {source.min_frames} frames"
        elif record.clip_id in leave_out:
            reason = "as --leave_out says"
        else:
            kept.append(record)
            continue
        reason = _of(source, sources, reason)
        left_out[reason] = left_out.get(reason, 0) + 1
    kept.sort(key=lambda record: record.clip_id)
    labels = [class_of[record.emotion] for record in kept]
    for index, name in enumerate(classes):
        if index not in labels:
            raise UserError(
                f"No clip of {name} in {', '.join(str(s.folder) for s in sources)}"
                + (f" (left out: {left_out})." if left_out else ".")
            )

    if slots is None:
        clips = Recorded(
            lambda index: _clip_of(sources, opened, kept[index], size),
            (len(kept), *shape),
        )
    else:
        clips = _take(slots, [record.number for record in kept])
    loaded = Clips(
        clips,
        np.array(labels, np.int32),
        tuple(record.clip_id for record in kept),
        tuple(record.subject for record in kept),
        tuple(sources[record.source].dataset for record in kept),
        tuple(record.emotion for record in kept),
        classes,
        left_out,
    )
    # Where the cached property keeps them.
    vars(loaded)["digests"] = tuple(record.digest for record in kept)
    return loaded


def _read_once(
    sources, opened, size: int, leave_out: Collection[str], slots: np.ndarray | None
) -> list[_Record]:
    """Reads every record once, on several threads.

    Args:
      sources: the data sets.
      opened: what ``_open`` returned for each.
      size: H and W of the clips.
      leave_out: clips to leave out, by id.
      slots: uint8 [N, T, H, W, 3], filled with the clip of each record, except those
        without a digest; None if no clip is kept.

    Returns:
      N records, source by source in their order there.

    Raises:
      UserError: if a record cannot be read, or there is no such label.
    """
    names = [
        _label_names(info, source.label)
        for source, (info, _) in zip(sources, opened, strict=True)
    ]
    places = [
        (number, index)
        for number, (_, rows) in enumerate(opened)
        for index in range(len(rows))
    ]

    def read(number: int) -> _Record:
        of, index = places[number]
        source, (_, rows) = sources[of], opened[of]
        before = f"{_short(source)}/" if len(sources) > 1 else ""
        with damage_told(source.folder):
            row = rows[index]
            label = row[source.label]
            record = _Record(
                number,
                of,
                index,
                before + row["clip_id"].decode(),
                before + row["subject"].decode(),
                names[of][label] if names[of] else label.decode(),
                int(row["offset"] - row["onset"] + 1),
                None,
            )
        if record.length < source.min_frames or record.clip_id in leave_out:
            return record
        clip = _to_size(row["clip"], size)
        if slots is not None:
            slots[number] = clip
        return dataclasses.replace(record, digest=digest_of(clip))

    def read_some(first: int) -> list[_Record]:
        return [read(n) for n in range(first, min(first + _TASK, len(places)))]

    threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(threads) as readers:
        # In order, so that of several damaged records the first is reported.
        tasks = readers.map(read_some, range(0, len(places), _TASK))
        return [record for task in tasks for record in task]


def _clip_of(sources, opened, record: _Record, size: int) -> np.ndarray:
    """Reads the clip of a record again, uint8 [T, H, W, 3]."""
    _, rows = opened[record.source]
    with damage_told(sources[record.source].folder):
        clip = rows[record.index]["clip"]
    return _to_size(clip, size)


def _take(clips: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Returns ``clips[order]`` in the memory of ``clips``, and frees the rest of it.

    Args:
      clips: [N, ...], which owns its memory; is overwritten.
      order: different indices.
    """
    chosen = np.sort(order)
    for place, origin in enumerate(chosen.tolist()):  # place <= origin
        if place != origin:
            clips[place] = clips[origin]
    clips.resize((len(chosen), *clips.shape[1:]), refcheck=False)
    # Follow each cycle of the permutation; one clip at a time is held outside.
    origins = np.searchsorted(chosen, order).tolist()
    for start in range(len(origins)):
        if origins[start] == start:
            continue
        place, held = start, clips[start].copy()
        while (origin := origins[place]) != start:
            clips[place] = clips[origin]
            origins[place] = place
            place = origin
        clips[place] = held
        origins[place] = place
    return clips


def _common_shape(sources, opened, size: int) -> tuple[int, ...]:
    """Returns [T, H, W, 3] of all clips, averaged down.

    Raises:
      UserError: if it differs between data sets.
    """
    shapes = [(info.features["clip"].shape[0], size, size, 3) for info, _ in opened]
    for source, shape in zip(sources, shapes, strict=True):
        if shape != shapes[0]:
            raise UserError(
                f"The clips in {source.folder} are {shape}, those in "
                f"{sources[0].folder} {shapes[0]}. Prepare them with the same "
                "--frames and --size."
            )
    return shapes[0]


def _fit_in_memory(shape: Sequence[int]) -> bool:
    return math.prod(shape) <= _SHARE * machine.memory_bytes()


def look_up(
    sources: Sequence[Source], clip_ids: Collection[str], names: Collection[str]
) -> dict[str, dict[str, object]]:
    """What the records say of some clips, by id, beside what ``load`` takes.

    Args:
      sources: as ``load`` had them.
      clip_ids: whose.
      names: of the features; those that the records do not have are left out.

    Raises:
      UserError: if records cannot be read.
    """
    found = {}
    for source in sources:
        _, rows = open_records(source.folder)
        before = f"{_short(source)}/" if len(sources) > 1 else ""
        for index in range(len(rows)):
            with damage_told(source.folder):
                row = rows[index]
            if (name := before + row["clip_id"].decode()) in clip_ids:
                found[name] = {key: row[key] for key in names if key in row}
    return found


def _open(source: Source, size: int):
    """The same, of records that clips of this size can be made of."""
    info, rows = open_records(source.folder)
    with damage_told(source.folder):
        features = info.features
        if absent := _NEEDED - features.keys():
            raise ValueError(f"they lack {', '.join(sorted(absent))}")
        shape = features["clip"].shape
        fits = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
        if not fits or min(shape) < 1 or features["clip"].np_dtype != np.uint8:
            raise ValueError(f"a clip is {shape}, {features['clip'].np_dtype}")
    recorded = shape[1]
    if recorded % size:
        sizes = [n for n in range(16, recorded + 1) if recorded % n == 0]
        raise UserError(
            f"--size={size}: the records are {recorded} x {recorded}; choose one of "
            f"{', '.join(map(str, sizes))}."
        )
    return info, rows


def _short(source: Source) -> str:
    return source.dataset.partition("/")[0]


def _of(source: Source, sources: Sequence[Source], reason: str) -> str:
    """The reason, with the data set's name if there are several."""
    return f"{_short(source)}: {reason}" if len(sources) > 1 else reason


def _label_names(info, label: str) -> list[str]:
    """The label's values by number; none where they are recorded as text.

    Raises:
      UserError: if there is no such label.
    """
    labels = [name for name in info.features if name.endswith("emotion")]
    if label not in labels:
        raise UserError(
            f"--label={label}: {info.name} has no such label; it has "
            f"{', '.join(labels)}."
        )
    return list(getattr(info.features[label], "names", []))


def _to_size(clip: np.ndarray, size: int) -> np.ndarray:
    """[T, n * size, n * size, 3] -> [T, size, size, 3], each pixel a block's mean."""
    factor = clip.shape[1] // size
    if factor == 1:
        return clip
    # Sums of every n-th pixel: NumPy's mean over two axes takes several times as long.
    total = np.zeros(clip[:, ::factor, ::factor].shape, np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += clip[:, row::factor, column::factor]
    return np.rint(total / np.float32(factor**2)).astype(np.uint8)
