"""Clips of candidates, cut from a recording as the clips of training were.

The frames are those nearest in time to the instants that training used. The face is
cropped by the same detector, and nothing is interpolated in time.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from meranet_jax.config import TrainConfig
from meranet_jax.errors import DataError
from meranet_jax.inputs.registry import APEX_FRAME, CLIP, ONSET_FRAME
from meranet_jax.prediction.cut import Cut, NotCut
from meranet_jax.video import apex, faces, sampling
from meranet_jax.video.faces import Face, FaceCrop
from meranet_jax.video.images import resize
from meranet_jax.video.measurement import RATE, Measurement
from meranet_jax.video.stream import Stream

# Seconds of the longest interval whose apex is looked for between the frames that were
# measured; all frames of it are kept.
_LONGEST_REFINED = 1.0

# Largest side in pixels of pictures for people, and their quality as JPEG: an interval
# at a high rate can have hundreds of frames.
_LARGEST, _QUALITY = 256, 95


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How the clips of a run were cut.

    Attributes:
      sampling: see ``sampling.Sampling``.
      frames: number of frames of a clip.
      window: length of the window around the apex in frames of ``rate``.
      rate: of the recordings that were trained on in Hz; None if it is unknown, so that
        a frame of the window is one of the recording.
      size: height and width of the clips in pixels.
      margin: of the face crop, see ``faces.locate_face``.
    """

    sampling: sampling.Sampling
    frames: int
    window: int
    rate: float | None
    size: int
    margin: float


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A candidate whose clip is asked for.

    Attributes:
      onset, apex, offset: in seconds.
      box: of the face near the apex, [4], in pixels of the recording.
      exact: whether the apex is the user's, and is not refined.
      large: whether larger pictures than the recogniser's are kept, for people.
    """

    onset: float
    apex: float
    offset: float
    box: np.ndarray
    exact: bool = False
    large: bool = False


def clip_settings(
    config: TrainConfig,
    frame_rates: Mapping[str, Sequence[float]],
    recorded: float | None,
) -> ClipSettings:
    """Returns how the clips of a run were cut.

    Of several data sets, with windows of different lengths, the one whose frame rate is
    nearest to the recording's counts.

    Args:
      config: the run's.
      frame_rates: of each data set by its name, in Hz; see ``Clips.frame_rates``.
      recorded: frame rate of the recording that clips are cut from; None if unknown.
    """
    choices = []
    for one in config.each_dataset():
        rates = frame_rates.get(one.dataset.partition("/")[0], ())
        if one.rate is not None:
            rates = [one.rate]
        choices += [(one, rate) for rate in rates or [None]]

    def distance(choice: tuple[TrainConfig, float | None]) -> float:
        rate = choice[1]
        if rate is None or recorded is None:
            return np.inf
        return abs(np.log(rate / recorded))

    chosen, rate = min(choices, key=distance)
    options = chosen.record_options()
    margin = options["margin"]
    return ClipSettings(
        sampling=chosen.sampling,
        frames=chosen.frames,
        window=chosen.window,
        rate=rate,
        size=options["size"],
        margin=faces.MARGIN if margin is None else margin,
    )


class Cutter:
    """Cuts the clips of candidates while a recording is read twice.

    First the frames are read in which faces are detected, then those of the clips. The
    pictures of one clip at a time are kept, cropped and in its size.
    """

    def __init__(
        self,
        recording: Stream,
        measurement: Measurement,
        settings: ClipSettings,
        wanted: Sequence[Wanted],
        on_time: Callable[[float], None] = lambda time: None,
    ):
        """Chooses the frames.

        Args:
          recording: is read once for the faces, and once for the clips.
          measurement: of the recording.
          settings: how clips are cut.
          wanted: the candidates.
          on_time: is called with the share of the recording that was read in the two
            passes, as a time in seconds, for progress.
        """
        self._on_time = on_time
        self._end = float(measurement.all_times[-1])
        self._recording, self._settings, self._wanted = recording, settings, wanted
        good = ~np.isin(measurement.all_numbers, measurement.damaged)
        # Indices below are those of the good frames.
        self._index = np.flatnonzero(good)
        self._numbers = measurement.all_numbers[good]
        self._times = measurement.all_times[good]

    def clips(self) -> Iterator[Cut | NotCut]:
        """Yields the clip of each candidate, in the order in which they end.

        Raises:
          DataError: if the recording cannot be read.
        """
        crops = self._crops()
        last: dict[int, int] = {}  # frame of each candidate
        users: dict[int, list[int]] = {}  # candidates of each frame
        for index, one in enumerate(self._wanted):
            if not isinstance(crops[index], FaceCrop):
                yield NotCut(index, str(crops[index]))
                continue
            frames = self._possible(one)
            last[index] = max(frames)
            for frame in frames:
                users.setdefault(frame, []).append(index)
        held: dict[int, dict[int, np.ndarray]] = {index: {} for index in last}
        large: dict[int, dict[int, bytes]] = {index: {} for index in last}
        failed: dict[int, str] = {}
        for frame, picture in self._read(sorted(users), self._end / 2):
            for index in users[frame]:
                crop = crops[index]
                assert isinstance(crop, FaceCrop)
                if isinstance(picture, DataError):
                    failed[index] = str(picture)
                elif index not in failed:
                    cropped = crop.apply(picture)
                    held[index][frame] = resize(cropped, self._settings.size)
                    if self._wanted[index].large:
                        large[index][frame] = _encoded(cropped)
                if frame < last[index]:
                    continue
                pictures, encoded = held.pop(index), large.pop(index)
                if index in failed:
                    yield NotCut(index, failed[index])
                else:
                    yield self._cut(index, pictures, encoded, crop)

    def _crops(self) -> list[FaceCrop | DataError]:
        """Returns the face crop of each candidate, or why there is none."""
        looked_at = []
        for one in self._wanted:
            frames, _ = self._frames(one.onset, one.apex, one.offset)
            looked_at.append(faces.looked_at(sorted(set(frames))))
        users: dict[int, list[int]] = {}
        for index, frames in enumerate(looked_at):
            for frame in frames:
                users.setdefault(frame, []).append(index)
        found: list[dict[int, Face | None]] = [{} for _ in self._wanted]
        failed: dict[int, DataError] = {}
        for frame, picture in self._read(sorted(users), 0.0):
            for index in users[frame]:
                if isinstance(picture, DataError):
                    failed[index] = picture
                    continue
                box = self._wanted[index].box
                found[index][int(self._numbers[frame])] = faces.choose(picture, box)
        return [
            failed.get(index) or self._crop(chosen)
            for index, chosen in enumerate(found)
        ]

    def _crop(self, chosen: Mapping[int, Face | None]) -> FaceCrop | DataError:
        try:
            return faces.crop_of(chosen, self._settings.margin)
        except DataError as error:
            return error

    def _read(
        self, frames: Sequence[int], done: float
    ) -> Iterator[tuple[int, np.ndarray | DataError]]:
        """Yields the pictures of some frames, which ascend, or why there is none.

        Args:
          frames: indices.
          done: progress before, see ``on_time``.
        """
        left = iter(frames)
        wanted = next(left, None)
        if wanted is None:
            return
        for frame in self._recording.frames():
            self._on_time(done + frame.time / 2)
            if frame.number != self._numbers[wanted]:
                continue
            try:
                picture = frame.read()
            except DataError as error:
                picture = error
            yield wanted, picture
            wanted = next(left, None)
            if wanted is None:
                return

    def _nearest(self, time: float) -> int:
        """Returns the index of the frame that is nearest in time."""
        return sampling.nearest_index(self._times, time)

    def _frames(
        self, onset: float, apex: float, offset: float
    ) -> tuple[list[int], tuple[int, int]]:
        """Returns the frames of a clip, and those of its onset and apex."""
        settings = self._settings
        first, at, last = (self._nearest(time) for time in (onset, apex, offset))
        if settings.sampling == "apex" and settings.rate is not None:
            offsets = np.arange(settings.frames) - settings.frames // 2
            offsets = offsets * settings.window // settings.frames / settings.rate
            # Of two frames that are equally near, the farther from the apex, as
            # ``sampling.window_frame_numbers`` rounds
            frames = [
                sampling.nearest_index(
                    self._times, self._times[at] + offset, later=offset > 0
                )
                for offset in offsets.tolist()
            ]
            return frames, (first, at)
        if settings.sampling == "uniform":
            instants = np.linspace(
                self._times[first], self._times[last], settings.frames
            )
            wanted = np.interp(instants, self._times, self._numbers)
            # Halves as training rounds them, whatever the rounding of times
            numbers = np.rint(np.round(wanted, 6)).astype(int)
        else:
            numbers = sampling.clip_frame_numbers(
                sampling=settings.sampling,
                frames=settings.frames,
                window=settings.window,
                onset=int(self._numbers[first]),
                apex=int(self._numbers[at]),
                offset=int(self._numbers[last]),
                first=int(self._numbers[0]),
                last=int(self._numbers[-1]),
            )
        frames = [
            sampling.nearest_index(self._numbers, number) for number in numbers.tolist()
        ]
        return frames, (first, at)

    def _possible(self, one: Wanted) -> set[int]:
        """Returns all frames that the clip of a candidate can have."""
        apexes = [one.apex]
        frames: set[int] = set()
        if self._refines(one):
            early, late = (self._nearest(time) for time in self._around(one))
            apexes += self._times[early : late + 1].tolist()
            first, last = self._nearest(one.onset), self._nearest(one.offset)
            frames |= set(range(first, last + 1))
        for at in apexes:
            found, key_frames = self._frames(one.onset, at, one.offset)
            frames |= {*found, *key_frames}
        return frames

    def _around(self, one: Wanted) -> tuple[float, float]:
        """Returns the instants between which the apex is looked for."""
        return max(one.apex - 1 / RATE, one.onset), min(one.apex + 1 / RATE, one.offset)

    def _refines(self, one: Wanted) -> bool:
        """Returns whether the recording has frames between those that were measured."""
        early, late = (self._nearest(time) for time in self._around(one))
        brief = one.offset - one.onset <= _LONGEST_REFINED
        return brief and not one.exact and late - early > 2

    def _cut(
        self,
        index: int,
        pictures: Mapping[int, np.ndarray],
        encoded: Mapping[int, bytes],
        crop: FaceCrop,
    ) -> Cut:
        one, settings = self._wanted[index], self._settings
        at = one.apex
        if self._refines(one):
            first, last = self._nearest(one.onset), self._nearest(one.offset)
            found = apex.spot(pictures[frame] for frame in range(first, last + 1))
            early, late = self._around(one)
            if found is not None and early <= self._times[first + found] <= late:
                at = float(self._times[first + found])
        frames, (onset, apex_frame) = self._frames(one.onset, at, one.offset)
        clip = np.stack([pictures[frame] for frame in frames])
        times = self._times[frames]
        if settings.sampling == "tim":
            clip = sampling.interpolate(clip, settings.frames)
            times = np.linspace(times[0], times[-1], settings.frames)
        features = {
            CLIP: clip,
            ONSET_FRAME: pictures[onset],
            APEX_FRAME: pictures[apex_frame],
        }
        return Cut(
            index,
            features,
            at,
            tuple(int(self._index[frame]) for frame in frames),
            tuple(times.tolist()),
            int(self._index[onset]),
            int(self._index[apex_frame]),
            crop.side,
            {
                int(self._index[frame]): encoded[frame]
                for frame in {*frames, onset, apex_frame}
                if frame in encoded
            },
        )


def _encoded(picture: np.ndarray) -> bytes:
    """Returns a picture, uint8 [H, W, 3] with H equal to W, as JPEG."""
    picture = resize(picture, min(len(picture), _LARGEST))
    options = (cv2.IMWRITE_JPEG_QUALITY, _QUALITY)
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], options)
    return encoded.tobytes()
