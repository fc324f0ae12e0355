"""Loading of clips from the records of one or several data sets."""

import concurrent.futures
import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import cores, recipes
from meranet_jax.data import class_sets, machine
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.clip_store import ClipStore
from meranet_jax.data.clips import Clips, LazyClips
from meranet_jax.data.digests import ClipDigest
from meranet_jax.data.records import open_records, report_damage
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs.registry import CLIP, INPUTS, Input
from meranet_jax.megc2019 import Rule, count_classes

# Features that each record must have, in addition to its label.
_REQUIRED = {"clip", "clip_id", "subject", "onset", "offset"}

# Fraction of this machine's memory that clips may use.
_MEMORY_FRACTION = 0.5

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


@dataclasses.dataclass(frozen=True)
class _Record:
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


def load(
    sources: Sequence[Source],
    *,
    choose_classes: Callable[[Collection[str]], ClassSet],
    size: int,
    leave_out: Collection[str] = (),
    whole_clips: bool = False,
    feed: str = "auto",
    network_input: Input = INPUTS["rgb"],
    flow_method: optical_flow.Method = optical_flow.DEFAULT,
) -> Clips:
    """Loads the clips of one or several prepared data sets, reading each record once.

    The array of clips is never copied: it has room for every record first, and is then
    reordered and shortened in place. Optical flow is computed for records that have
    none yet, on all cores with a progress bar, and kept next to the records.

    Args:
      sources: the data sets. With several, ids and subjects are prefixed by their data
        set's name.
      choose_classes: returns the classes, given all emotions of the records that the
        rules of the sources do not leave out.
      size: H and W of the result, by which the size of the records must be divisible.
      leave_out: ids of clips to leave out.
      whole_clips: whether to leave out recordings of key frames alone, even if the
        input needs no others.
      feed: ``"device"`` loads the clips into memory, ``"records"`` reads them at each
        access. ``"auto"`` loads them unless all records, with those that will be left
        out, would use more than half of this machine's memory.
      network_input: determines what is stored for each clip.
      flow_method: how optical flow is estimated, if the input needs it.

    Raises:
      UserError: if records cannot be read, have no such label, or do not have a frame
        that the input needs, a class has no clip, a clip to leave out does not exist,
        the records cannot be reduced to the size, or the clips of two data sets differ
        in shape.
      OSError: if the flow cannot be written.
    """
    opened = [_open(source, size) for source in sources]
    shape = _common_shape(sources, opened, size)
    store = ClipStore(
        [source.folder for source in sources],
        opened,
        size=size,
        network_input=network_input,
        flow_method=flow_method,
    )
    stored_shape = network_input.stored_shape(shape[0], size)
    buffer = None
    buffer_shape = (sum(len(rows) for _, rows in opened), *stored_shape)
    if feed == "device" or (
        feed == "auto" and _fits_in_memory(buffer_shape, store.dtype)
    ):
        buffer = np.empty(buffer_shape, store.dtype)
    needs_clip = whole_clips or CLIP in network_input.features
    records = _read_records(
        sources, opened, store, leave_out, buffer, needs_clip=needs_clip
    )
    classes = choose_classes(
        {record.emotion for record in records if record.exclusion is None}
    )
    class_of = {e: index for index, es in enumerate(classes.values()) for e in es}
    if unknown := set(leave_out) - {record.clip_id for record in records}:
        raise UserError(
            f"--leave_out: there is no clip {sorted(unknown)[0]}. Give ids such as "
            f"{records[0].clip_id}."
        )

    kept, left_out, left_out_ids = [], {}, {}
    for source, (info, _) in zip(sources, opened, strict=True):
        if unrecorded := len((info.metadata or {}).get("left_out", [])):
            reason = "no record of it; python -m datasets.prepare lists why"
            left_out[_with_dataset(source, sources, reason)] = unrecorded
    for record in records:
        source = sources[record.source]
        if record.exclusion is not None:
            reason = record.exclusion
        elif record.emotion not in class_of:
            reason = f"{record.emotion}, not among the classes"
        elif record.length < source.min_frames:
            reason = f"fewer than {source.min_frames} frames"
        elif record.clip_id in leave_out:
            reason = "as --leave_out says"
        elif record.key_frames_only and needs_clip:
            reason = "only onset, apex and offset frames, " + (
                f"--input={network_input.name} needs a clip"
                if CLIP in network_input.features
                else "as --whole_clips says"
            )
        else:
            kept.append(record)
            continue
        reason = _with_dataset(source, sources, reason)
        left_out[reason] = left_out.get(reason, 0) + 1
        left_out_ids[record.clip_id] = reason
    kept.sort(key=lambda record: record.clip_id)
    labels = [class_of[record.emotion] for record in kept]
    for index, name in enumerate(classes):
        if index not in labels:
            raise UserError(
                f"There is no clip of {name} in "
                f"{', '.join(str(s.folder) for s in sources)}"
                + (f" (left out: {left_out})." if left_out else ".")
            )

    if buffer is None:
        stored = LazyClips(
            lambda index: store.read(kept[index].source, kept[index].index),
            (len(kept), *stored_shape),
            store.dtype,
        )
    else:
        stored = _take_in_place(buffer, [record.number for record in kept])
    clips = stored
    if network_input.features != (CLIP,):
        # Few clips are read, for pictures of saliency maps.
        clips = LazyClips(
            lambda index: store.read_clip(kept[index].source, kept[index].index),
            (len(kept), *shape),
        )
    references = None
    if network_input.flow:
        recorded = opened[0][0].features["clip"].shape[1:]
        references = LazyClips(
            lambda index: store.read_reference(kept[index].source, kept[index].index),
            (len(kept), *recorded),
        )
    loaded = Clips(
        clips,
        np.array(labels, np.int32),
        tuple(record.clip_id for record in kept),
        tuple(record.subject for record in kept),
        tuple(sources[record.source].dataset for record in kept),
        tuple(record.emotion for record in kept),
        classes,
        left_out,
        None if clips is stored else stored,
        store.first_as_onset,
        {
            _dataset_name(source): _frame_rates(info)
            for source, (info, _) in zip(sources, opened, strict=True)
        },
        left_out_ids,
        references,
        _count_by_rule(sources, kept),
    )
    # Fills the cached property.
    vars(loaded)["digests"] = tuple(record.digest for record in kept)
    return loaded


def _read_records(
    sources,
    opened,
    store: ClipStore,
    leave_out: Collection[str],
    buffer,
    *,
    needs_clip: bool,
) -> list[_Record]:
    """Reads every record once, on several threads.

    Args:
      sources: the data sets.
      opened: what ``_open`` returned for each.
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

    def read(number: int) -> _Record:
        source_index, index = positions[number]
        source, (_, rows) = sources[source_index], opened[source_index]
        prefix = people = ""
        if len(sources) > 1:
            prefix = f"{_dataset_name(source)}/"
            people = f"{recipes.people(source.dataset)}/"
        with report_damage(source.folder):
            row = rows[index]
            label = row[source.label]
            emotion = (
                names[source_index][label] if names[source_index] else label.decode()
            )
            record = _Record(
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

    def read_task(first: int) -> list[_Record]:
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


def _count_by_rule(
    sources: Sequence[Source], kept: Sequence[_Record]
) -> dict[str, dict[str, int]]:
    """Returns ``Clips.megc2019``.

    Args:
      sources: the data sets.
      kept: the records that are not left out.
    """
    return {
        _dataset_name(source): count_classes(
            record.emotion for record in kept if record.source == index
        )
        for index, source in enumerate(sources)
        if source.rule is not None
    }


def _take_in_place(clips: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Returns ``clips[order]`` in the memory of ``clips``, and frees the rest of it.

    Args:
      clips: [N, ...], which owns its memory; overwritten.
      order: distinct indices.
    """
    chosen = np.sort(order)
    for place, origin in enumerate(chosen.tolist()):  # place <= origin
        if place != origin:
            clips[place] = clips[origin]
    clips.resize((len(chosen), *clips.shape[1:]), refcheck=False)
    # Follows each cycle of the permutation, with a copy of one clip at a time.
    origins = np.searchsorted(chosen, order).tolist()
    for start in range(len(origins)):
        if origins[start] == start:
            continue
        place, first = start, clips[start].copy()
        while (origin := origins[place]) != start:
            clips[place] = clips[origin]
            origins[place] = place
            place = origin
        clips[place] = first
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


def _fits_in_memory(shape: Sequence[int], dtype: np.dtype) -> bool:
    needed = math.prod(shape) * dtype.itemsize
    return needed <= _MEMORY_FRACTION * machine.memory_bytes()


def read_features(
    sources: Sequence[Source], clip_ids: Collection[str], names: Collection[str]
) -> dict[str, dict[str, object]]:
    """Reads further features of the records of some clips.

    Args:
      sources: the sources from which ``load`` loaded the clips.
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
        prefix = f"{_dataset_name(source)}/" if len(sources) > 1 else ""
        for index in range(len(rows)):
            with report_damage(source.folder):
                row = rows[index]
            if (clip_id := prefix + row["clip_id"].decode()) in clip_ids:
                features[clip_id] = {name: row[name] for name in names if name in row}
    return features


def _open(source: Source, size: int):
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


def _frame_rates(info) -> list[float]:
    """Returns ``Clips.frame_rates`` of records; older ones do not give them."""
    rates = (info.metadata or {}).get("frame_rates", [])
    return [float(rate) for rate in rates]


def _dataset_name(source: Source) -> str:
    return source.dataset.partition("/")[0]


def _with_dataset(source: Source, sources: Sequence[Source], reason: str) -> str:
    """Prefixes a reason by the data set's name if there are several."""
    return f"{_dataset_name(source)}: {reason}" if len(sources) > 1 else reason


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
