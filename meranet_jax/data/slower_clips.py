"""Clips as recordings at a lower frame rate would have given them.

A record has no recording, but the frames of its clip and, with inputs that need them,
those at onset and apex. The slower recording therefore consists of frames of the clip;
see ``slower_frames``.
"""

import concurrent.futures
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from meranet_jax import cores
from meranet_jax.config import TrainConfig
from meranet_jax.data import machine
from meranet_jax.data.clip_store import convert_frames
from meranet_jax.data.clips import Clips, LazyClips
from meranet_jax.data.records import open_records, report_damage
from meranet_jax.data.slower_frames import TINY, Shown, Timing, slow_down, timing
from meranet_jax.data.source_records import Source
from meranet_jax.errors import UserError
from meranet_jax.inputs.registry import APEX_FRAME, CLIP, ONSET_FRAME, Input
from meranet_jax.inputs.registry import find as find_input
from meranet_jax.video import sampling

# Number of phases: instants at which the first frame of the slower recording can lie,
# evenly spaced over the time between two of its frames.
_PHASES = 3

# Fraction of this machine's memory that all clips may use; beyond it, clips are made
# when they are needed.
_MEMORY_FRACTION = 0.5


@dataclasses.dataclass(frozen=True)
class SlowerClips:
    """M clips at P phases of the sampling.

    Attributes:
      clips: P * M clips; those of the first phase come first.
      phases: P.
      distinct: number of different frames of each clip before, [M], and at each phase,
        [P, M]; None if the input does not show the clip.
      apex_shifts: distance of the frame that replaces the apex frame from the apex in
        seconds, [P, M]; None if the input does not show the apex frame.
    """

    clips: Clips
    phases: int
    distinct: tuple[np.ndarray, np.ndarray] | None
    apex_shifts: np.ndarray | None


def load(
    clips: Clips,
    sources: Sequence[Source],
    config: TrainConfig,
    indices: np.ndarray,
    rate: float,
) -> SlowerClips:
    """Loads clips as recordings at a lower frame rate would have given them.

    Args:
      clips: all clips of a run.
      sources: their records.
      config: the settings of the run.
      indices: of the M clips to load.
      rate: in Hz.

    Raises:
      UserError: if records cannot be read, their frame rate is unknown or not above
        ``rate``, or the records do not have the frames that a slower recording has.
    """
    network_input = find_input(config.input)
    needs_onset = ONSET_FRAME in network_input.features and not clips.first_as_onset
    # Records have no frames around the onset, so that it is a frame of the slower
    # recording, too.
    phases = 1 if needs_onset else _PHASES
    opened = [open_records(source.folder) for source in sources]
    ids = [clips.clip_ids[index] for index in indices]
    found = _find(sources, opened, config, ids)
    timings = _timings(ids, found, rate)
    _check_frames(network_input, config, timings, rate)
    shown = _check_shown(
        network_input,
        timings,
        [
            [
                slow_down(one, rate, phase / phases, from_onset=needs_onset)
                for one in timings.values()
            ]
            for phase in range(phases)
        ],
        rate,
    )

    def convert(row, one: Shown) -> np.ndarray:
        frames = _frames(
            row,
            one,
            (CLIP,) if clips.first_as_onset else network_input.features,
            interpolates=config.sampling == "tim",
        )
        if clips.first_as_onset:
            frames = np.concatenate([frames[:1], frames])
        return convert_frames(frames, config.size, network_input, config.flow_method)

    def read_row(place: int):
        source, index = found[ids[place]].position
        with report_damage(sources[source].folder):
            return opened[source][1][index]

    def read(number: int) -> np.ndarray:
        phase, place = divmod(number, len(ids))
        return convert(read_row(place), shown[phase][place])

    shape = (phases * len(ids), *clips.inputs.shape[1:])
    stored: np.ndarray | LazyClips
    needed = (
        clips.inputs.nbytes + math.prod(shape) * network_input.stored_dtype.itemsize
    )
    if (
        isinstance(clips.inputs, LazyClips)
        or needed > _MEMORY_FRACTION * machine.memory_bytes()
    ):
        stored = LazyClips(read, shape, network_input.stored_dtype)
    else:
        stored = np.empty(shape, network_input.stored_dtype)
        of_phase = stored.reshape(phases, len(ids), *shape[1:])

        def fill(place: int) -> None:
            row = read_row(place)
            for phase in range(phases):
                of_phase[phase, place] = convert(row, shown[phase][place])

        _on_all_cores(fill, len(ids))
    distinct = apex_shifts = None
    if CLIP in network_input.features:
        distinct = _count_distinct(clips, indices, shown)
    if APEX_FRAME in network_input.features:
        apex_shifts = np.array([[one.apex_shift for one in row] for row in shown])
    return SlowerClips(
        _replace_stored(clips, stored, np.tile(indices, phases), network_input),
        phases,
        distinct,
        apex_shifts,
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """The record of a clip.

    Attributes:
      position: index of its source, and of the record in it.
      timing: when its frames were recorded; None if its frame rate is unknown.
      key_frames_only: whether it has no frames but those at onset, apex and offset.
    """

    position: tuple[int, int]
    timing: Timing | None
    key_frames_only: bool


def _find(
    sources: Sequence[Source], opened, config: TrainConfig, ids: Sequence[str]
) -> dict[str, _Found]:
    """Returns the record of each clip by its id."""
    wanted, found = set(ids), {}
    for number, (source, (info, rows), of_dataset) in enumerate(
        zip(sources, opened, config.each_dataset(), strict=True)
    ):
        prefix = f"{source.name}/" if len(sources) > 1 else ""
        # Records without a frame rate of their own may all have the same.
        rates = (info.metadata or {}).get("frame_rates", [])
        common = float(rates[0]) if len(rates) == 1 else 0.0
        for index in range(len(rows)):
            with report_damage(source.folder):
                row = rows[index]
            if (clip_id := prefix + row["clip_id"].decode()) not in wanted:
                continue
            frame_rate = float(row.get("frame_rate", common))
            onset, apex, offset = (int(row[n]) for n in ("onset", "apex", "offset"))
            known = None
            if frame_rate > 0:
                known = timing(of_dataset, frame_rate, onset, apex, offset)
            key_frames_only = bool(row.get("key_frames_only", False))
            found[clip_id] = _Found((number, index), known, key_frames_only)
    return found


def _timings(
    ids: Sequence[str], found: Mapping[str, _Found], rate: float
) -> dict[str, Timing]:
    """Returns the timing of each clip.

    Raises:
      UserError: if it is unknown, or the frame rate is not above ``rate``.
    """
    timings = {i: one.timing for i in ids if (one := found[i]).timing is not None}
    if unknown := [i for i in ids if i not in timings]:
        raise UserError(
            f"The frame rate of {len(unknown)} of {len(ids)} test clips is unknown "
            f"(first: {unknown[0]}), so that it cannot be lowered to {rate:g} Hz. "
            "State frame_rate in the specification of the data set, prepare its "
            "records again, and train on them."
        )
    if slow := [i for i in ids if timings[i].frame_rate <= rate]:
        lowest = min(timings[i].frame_rate for i in slow)
        raise UserError(
            f"--rate={rate:g}: {len(slow)} of {len(ids)} test clips were not recorded "
            f"at more than {rate:g} Hz (first: {slow[0]}, "
            f"{timings[slow[0]].frame_rate:g} Hz). Choose a rate below {lowest:g} Hz."
        )
    if key_frames := [i for i in ids if found[i].key_frames_only]:
        raise UserError(
            f"{len(key_frames)} of {len(ids)} test clips consist of the frames at "
            f"onset, apex and offset alone (first: {key_frames[0]}), among which a "
            "slower recording has no others. Train with --whole_clips to measure this."
        )
    return timings


def _check_frames(
    network_input: Input,
    config: TrainConfig,
    timings: Mapping[str, Timing],
    rate: float,
) -> None:
    """Raises UserError if the frames of the clips cannot show a lower rate."""
    if APEX_FRAME not in network_input.features:
        return
    if config.sampling == "tim":
        raise UserError(
            f"--input={network_input.name} shows the apex frame. Of --sampling=tim, "
            "the records have no other frame of the recording in its place, but "
            "interpolated ones. Train with --sampling=apex or uniform to measure this."
        )
    coarse = {i: t for i, t in timings.items() if t.spacing > 1 / rate + TINY}
    if coarse:
        longest = max(one.spacing for one in coarse.values())
        raise UserError(
            f"--rate={rate:g}: --input={network_input.name} shows the apex frame. The "
            f"nearest frames to it in the records of {len(coarse)} of {len(timings)} "
            f"test clips are up to {1000 * longest:.0f} ms apart, farther than those "
            f"of a recording at {rate:g} Hz, so that no record has the frame that it "
            f"would show. Choose a rate below {1 / longest:.4g} Hz, or train with more "
            "--frames."
        )


def _check_shown(
    network_input: Input,
    timings: Mapping[str, Timing],
    shown: Sequence[Sequence[Shown | None]],
    rate: float,
) -> list[list[Shown]]:
    """Returns the frames of each phase and clip.

    Raises:
      UserError: if a slower recording has none in a clip, none near an apex that the
        input shows, or the same as the clip everywhere.
    """
    checked: list[list[Shown]] = []
    replaces = False
    for row in shown:
        checked.append([])
        for (clip_id, times), one in zip(timings.items(), row, strict=True):
            covered = 1000 * (times.frames[-1] - times.frames[0])
            if one is None:
                raise UserError(
                    f"--rate={rate:g}: the frames of {clip_id} cover {covered:.0f} ms, "
                    f"in which a recording at {rate:g} Hz may have no frame. Choose a "
                    "higher rate."
                )
            farthest = 0.5 / rate + times.spacing / 2 + TINY
            if APEX_FRAME in network_input.features and one.apex_shift > farthest:
                raise UserError(
                    f"--rate={rate:g}: the frames of {clip_id} cover {covered:.0f} ms, "
                    f"in which a recording at {rate:g} Hz has no frame near the apex. "
                    "Choose a higher rate."
                )
            replaces |= len(one.kept) < len(np.unique(times.frames))
            checked[-1].append(one)
    if not replaces:
        shortest = min(times.spacing for times in timings.values())
        advice = f" Choose a rate below {1 / shortest:.4g} Hz." if shortest else ""
        raise UserError(
            f"--rate={rate:g}: the frames of all test clips are so far apart that a "
            f"recording at {rate:g} Hz has each of them, or one near to it. Its result "
            f"is that of the run.{advice}"
        )
    return checked


def _frames(
    row: Mapping[str, Any], shown: Shown, features: Sequence[str], *, interpolates: bool
) -> np.ndarray:
    """Returns the frames that an input is computed from, [S, H, W, 3] as recorded.

    Args:
      row: the record.
      shown: which frames replace others.
      features: record features that the input is computed from.
      interpolates: whether clips are interpolated from all frames of the recording.
    """
    clip, parts = row[CLIP], []
    for name in features:
        if name == ONSET_FRAME:
            parts.append(row[name][None])
        elif name == APEX_FRAME:
            unchanged = shown.apex_shift < TINY
            parts.append(row[name][None] if unchanged else clip[shown.apex][None])
        elif interpolates:
            parts.append(sampling.interpolate(clip[shown.kept], len(clip)))
        else:
            parts.append(clip[shown.clip])
    return np.concatenate(parts)


def _on_all_cores(function: Callable[[int], None], number: int) -> None:
    """Calls a function with 0 to ``number`` - 1."""
    pool = concurrent.futures.ThreadPoolExecutor(cores.count())
    try:
        for _ in pool.map(function, range(number)):
            pass
    finally:  # also if the user interrupts it
        pool.shutdown(cancel_futures=True)


def _count_distinct(
    clips: Clips, indices: np.ndarray, shown: Sequence[Sequence[Shown]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``SlowerClips.distinct``.

    Frames are compared by their pixels, since a window beyond the end of a recording
    repeats its last frame.
    """
    before = np.zeros(len(indices), np.int64)
    after = np.zeros((len(shown), len(indices)), np.int64)
    for place, index in enumerate(indices):
        images = [frame.tobytes() for frame in clips.clips[int(index)]]
        before[place] = len(set(images))
        for phase, row in enumerate(shown):
            after[phase, place] = len({images[kept] for kept in row[place].kept})
    return before, after


def _replace_stored(
    clips: Clips,
    stored: np.ndarray | LazyClips,
    indices: np.ndarray,
    network_input: Input,
) -> Clips:
    """Returns clips with other inputs.

    Args:
      clips: all clips of the run.
      stored: the inputs, [N, ...].
      indices: of the clip that each of them was made from, [N].
      network_input: the input.
    """

    def lazy(of: np.ndarray | LazyClips) -> LazyClips:
        shape = (len(indices), *of.shape[1:])
        return LazyClips(lambda number: of[int(indices[number])], shape)

    only_clip = network_input.features == (CLIP,)
    # The frame that flow starts from is that at the onset, which is not replaced.
    references = None if clips.references is None else lazy(clips.references)
    return dataclasses.replace(
        clips,
        # Those of other inputs are the clips of the run; networks do not read them.
        clips=stored if only_clip else lazy(clips.clips),
        stored=None if only_clip else stored,
        references=references,
        labels=clips.labels[indices],
        **{
            name: tuple(np.array(getattr(clips, name))[indices].tolist())
            for name in ("clip_ids", "subjects", "datasets", "emotions")
        },
    )
