"""Loading of clips from the records of one or several data sets."""

import collections
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from meranet_jax.data import machine
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.clip_store import ClipStore
from meranet_jax.data.clips import Clips, LazyClips
from meranet_jax.data.source_records import Record, Source, open_source, read_records
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs.registry import CLIP, INPUTS, Input
from meranet_jax.megc2019 import count_classes

# Fraction of this machine's memory that clips may use.
_MEMORY_FRACTION = 0.5


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
    opened = [open_source(source, size) for source in sources]
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
    records = read_records(
        sources, opened, store, leave_out, buffer, needs_clip=needs_clip
    )
    try:
        classes = choose_classes(
            {record.emotion for record in records if record.exclusion is None}
        )
    except UserError as error:
        raise UserError(f"{error}{_describe_exclusions(sources, records)}") from error
    class_of = {e: name for name, emotions in classes.items() for e in emotions}
    if unknown := set(leave_out) - {record.clip_id for record in records}:
        raise UserError(
            f"--leave_out: there is no clip {sorted(unknown)[0]}. Give ids such as "
            f"{records[0].clip_id}."
        )

    kept, left_out, left_out_ids = [], _count_unrecorded(sources, opened), {}
    for record in records:
        source = sources[record.source]
        reason = _why_left_out(
            record, source, class_of, leave_out, network_input, needs_clip=needs_clip
        )
        if reason is None:
            kept.append(record)
            continue
        reason = _with_dataset(source, sources, reason)
        left_out[reason] = left_out.get(reason, 0) + 1
        left_out_ids[record.clip_id] = reason
    kept.sort(key=lambda record: record.clip_id)
    names = [class_of[record.emotion] for record in kept]
    if without := [name for name in classes if name not in names]:
        raise UserError(
            f"There is no clip of {without[0]} in "
            f"{', '.join(str(source.folder) for source in sources)}"
            + (f" (left out: {left_out})." if left_out else ".")
        )

    def lazy(
        read: Callable[[int, int], np.ndarray],
        shape: Sequence[int],
        dtype: npt.DTypeLike = np.uint8,
    ) -> LazyClips:
        """Makes clips of a function of the indices of a source and of its record."""
        return LazyClips(
            lambda index: read(kept[index].source, kept[index].index),
            (len(kept), *shape),
            dtype,
        )

    if buffer is None:
        stored = lazy(store.read, stored_shape, store.dtype)
    else:
        stored = _take_in_place(buffer, [record.number for record in kept])
    clips = stored
    if network_input.features != (CLIP,):
        # Few clips are read, for pictures of saliency maps.
        clips = lazy(store.read_clip, shape)
    references = None
    if network_input.flow:
        recorded = opened[0][0].features["clip"].shape[1:]
        references = lazy(store.read_reference, recorded)
    index_of = {name: index for index, name in enumerate(classes)}
    loaded = Clips(
        clips,
        np.array([index_of[name] for name in names], np.int32),
        tuple(record.clip_id for record in kept),
        tuple(record.subject for record in kept),
        tuple(sources[record.source].dataset for record in kept),
        tuple(record.emotion for record in kept),
        classes,
        left_out,
        stored=None if clips is stored else stored,
        first_as_onset=store.first_as_onset,
        frame_rates={
            source.name: _frame_rates(info)
            for source, (info, _) in zip(sources, opened, strict=True)
        },
        left_out_ids=left_out_ids,
        references=references,
        megc2019=_count_by_rule(sources, kept),
    )
    # Fills the cached property.
    vars(loaded)["digests"] = tuple(record.digest for record in kept)
    return loaded


def _describe_exclusions(sources: Sequence[Source], records: Sequence[Record]) -> str:
    """Returns sentences on what the rules of the sources leave out; empty if nothing.

    They explain why a class has no clip.
    """
    reasons = collections.Counter(
        record.exclusion for record in records if record.exclusion is not None
    )
    if not reasons:
        return ""
    names = " and ".join(source.name for source in sources if source.rule is not None)
    listed = ", ".join(f"{n} ({reason})" for reason, n in reasons.most_common())
    return (
        f" The rule of MEGC 2019, which --classes=megc3 applies to {names}, leaves out "
        f"{reasons.total()} of {len(records)} clips: {listed}. If these are not the "
        "emotions and apexes of the data set, repair the table and prepare it again: "
        f"python -m datasets.check {sources[0].name} shows what was read."
    )


def _why_left_out(
    record: Record,
    source: Source,
    emotions: Collection[str],
    leave_out: Collection[str],
    network_input: Input,
    *,
    needs_clip: bool,
) -> str | None:
    """Returns why a record is left out; None if it is not.

    Args:
      record: the record.
      source: its source.
      emotions: those that belong to a class.
      leave_out: see ``load``.
      network_input: see ``load``.
      needs_clip: whether recordings of key frames alone are left out.
    """
    if record.exclusion is not None:
        return record.exclusion
    if record.emotion not in emotions:
        return f"{record.emotion}, not among the classes"
    if record.length < source.min_frames:
        return f"fewer than {source.min_frames} frames"
    if record.clip_id in leave_out:
        return "as --leave_out says"
    if record.key_frames_only and needs_clip:
        if CLIP in network_input.features:
            why = f"--input={network_input.name} needs a clip"
        else:
            why = "as --whole_clips says"
        return f"only onset, apex and offset frames, {why}"
    return None


def _count_unrecorded(sources: Sequence[Source], opened) -> dict[str, int]:
    """Counts the clips that have no record; returns their number by reason.

    Frames without a row of the table are no clips of the data set, such as the folders
    ``non_micro`` of SMIC.
    """
    counts = {}
    for source, (info, _) in zip(sources, opened, strict=True):
        entries = (info.metadata or {}).get("left_out", [])
        if unrecorded := sum(entry["row"] is not None for entry in entries):
            reason = "no record of it; python -m datasets.prepare lists why"
            counts[_with_dataset(source, sources, reason)] = unrecorded
    return counts


def _with_dataset(source: Source, sources: Sequence[Source], reason: str) -> str:
    """Prefixes a reason by the data set's name if there are several."""
    return f"{source.name}: {reason}" if len(sources) > 1 else reason


def _count_by_rule(
    sources: Sequence[Source], kept: Sequence[Record]
) -> dict[str, dict[str, int]]:
    """Returns ``Clips.megc2019``.

    Args:
      sources: the data sets.
      kept: the records that are not left out.
    """
    return {
        source.name: count_classes(
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


def _frame_rates(info) -> list[float]:
    """Returns ``Clips.frame_rates`` of records; older ones do not give them."""
    rates = (info.metadata or {}).get("frame_rates", [])
    return [float(rate) for rate in rates]
