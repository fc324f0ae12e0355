"""Videos of minutes with brief expressions at known times, for spotting.

``python -m datasets.synthetic.long_video VIDEO.mp4 --seconds=60`` writes a video, and
next to it ``VIDEO.csv`` with what happens in it. The faces, expressions and amplitudes
are those of ``synthetic``; blinks and movements of speech are added, and the head sways
all the time.
"""

import csv
import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import tyro

from datasets.synthetic import face, motion, photograph
from datasets.synthetic.time_course import FRAME_RATE
from meranet_jax.errors import DataError, explain
from meranet_jax.files import atomic_write

# Of the frames; the pictures of faces are used at their own resolution.
WIDTH, HEIGHT = 640, 480

# Quality of the encoder: hardly visible losses
_QUALITY = "18"

# Seconds at the beginning and the end, and between two events of the same kind, in
# which none begins.
_QUIET = 1.0

Event = Literal["expression", "blink", "speech"]


@dataclasses.dataclass(frozen=True)
class LongVideoConfig:
    """What happens in a video.

    Attributes:
      seconds: length.
      rate: frames per second.
      faces: ``drawn``, or warped from a ``photograph``.
      expressions: number per minute.
      blinks: number per minute.
      speech: number of utterances of a second or two per minute.
      amplitude: minimum and maximum of the displacement at the apex, in pixels at
        112 x 112.
      drift: maximum shift of the head, in the same unit.
      noise: standard deviation of the sensor's noise, in grey levels.
      flicker: standard deviation of the relative brightness of a frame.
      encoding: ``crf``: constant visual quality, as of videos that are watched. The
        encoder spends fewer bytes on each frame if there are more frames a second, and
        repeats parts of the frame before. ``qp``: constant quality of each frame, as of
        cameras for research.
      seed: of all random numbers.
    """

    seconds: float = 60.0
    rate: int = 30
    faces: Literal["drawn", "photograph"] = "drawn"
    expressions: float = 10.0
    blinks: float = 0.0
    speech: float = 0.0
    amplitude: tuple[float, float] = (1.0, 3.0)
    drift: float = 1.0
    noise: float = 2.0
    flicker: float = 0.01
    encoding: Literal["crf", "qp"] = "crf"
    seed: int = 0

    def __post_init__(self):
        """Raises DataError for invalid values."""
        if not 4 * _QUIET <= self.seconds < math.inf or not 5 <= self.rate <= 1000:
            raise DataError(
                f"--seconds={self.seconds:g} --rate={self.rate}: a video has at least "
                f"{4 * _QUIET:g} seconds and 5 to 1000 frames a second."
            )
        least, most = self.amplitude
        if not 0 <= least <= most < math.inf:
            raise DataError(
                f"--amplitude {least:g} {most:g}: give the least and the largest one, "
                "in pixels."
            )
        for name in ("expressions", "blinks", "speech", "drift", "noise", "flicker"):
            if not 0 <= getattr(self, name) < math.inf:
                raise DataError(
                    f"--{name}={getattr(self, name):g} must be 0 or a positive number."
                )


@dataclasses.dataclass(frozen=True)
class TrueEvent:
    """Something that happens in a video.

    Attributes:
      kind: an expression, a blink or an utterance.
      label: the emotion of an expression; else empty.
      onset, apex, offset: in seconds; nothing moves at onset and offset.
      amplitude: in pixels at 112 x 112.
    """

    kind: Event
    label: str
    onset: float
    apex: float
    offset: float
    amplitude: float

    def frames(self, rate: float) -> tuple[int, int]:
        """Returns the first and last frame that show it, numbered from 1.

        Args:
          rate: frames per second.
        """
        first = int(np.floor(self.onset * rate)) + 2
        return first, max(first, int(np.ceil(self.offset * rate)))

    def intensity(self, time: float) -> float:
        """Returns 0 before the onset and after the offset, and 1 at the apex."""
        if not self.onset < time < self.offset:
            return 0.0
        if time <= self.apex:
            part = (time - self.onset) / (self.apex - self.onset)
        else:
            part = (self.offset - time) / (self.offset - self.apex)
        return float(np.sin(np.pi / 2 * part) ** 2)


def draw_events(
    config: LongVideoConfig, rng: np.random.Generator
) -> tuple[TrueEvent, ...]:
    """Draws what happens in a video, in ascending order of the onsets."""
    events: list[TrueEvent] = []
    emotions = list(motion.EMOTIONS)
    for kind, rate in (
        ("expression", config.expressions),
        ("blink", config.blinks),
        ("speech", config.speech),
    ):
        number = round(rate * config.seconds / 60)
        span = config.seconds - 2 * _QUIET
        free = span - number * 2 * _QUIET
        if number and free < 0:
            most = math.floor(span / (2 * _QUIET)) * 60 / config.seconds
            raise DataError(
                f"{rate:g} events of a kind per minute are too many for "
                f"{config.seconds:g} seconds; set at most {most:.3g}."
            )
        starts = np.sort(rng.uniform(0, max(free, 0), number))
        for index, start in enumerate(starts.tolist()):
            onset = _QUIET + start + index * 2 * _QUIET
            rise, fall, size, label = 0.0, 0.0, 0.0, ""
            if kind == "expression":
                course = motion.draw_time_course(rng)
                rise = (course.apex - course.onset) / FRAME_RATE
                fall = (course.offset - course.apex) / FRAME_RATE
                size = float(rng.uniform(*config.amplitude))
                label = emotions[int(rng.integers(len(emotions)))]
            elif kind == "blink":
                rise, fall = rng.uniform(0.05, 0.1), rng.uniform(0.1, 0.25)
                size = float(rng.uniform(3.0, 5.0))
            else:
                rise = fall = float(rng.uniform(0.3, 0.8))
                size = float(rng.uniform(0.5, 2.0))
            events.append(
                TrueEvent(kind, label, onset, onset + rise, onset + rise + fall, size)
            )
    return tuple(sorted(events, key=lambda event: event.onset))


def render(path: Path, config: LongVideoConfig) -> tuple[TrueEvent, ...]:
    """Writes a video, and returns what happens in it.

    Args:
      path: of the video, ``.mp4``; replaced if it exists.
      config: what happens in it.

    Raises:
      DataError: if it has another suffix, or a value is invalid.
      OSError: if it cannot be written.
    """
    if path.suffix.lower() != ".mp4":
        raise DataError(f"{path} must end with .mp4.")
    rng = np.random.default_rng((config.seed, 77))
    if config.faces == "photograph":
        subject = photograph.load_face()
    else:
        subject = face.draw_face(rng)
    events = draw_events(config, rng)
    number = round(config.seconds * config.rate)
    # ``head_motion`` counts frames at 200 Hz; within minutes, people sway more slowly.
    at = np.arange(number) / config.rate * FRAME_RATE / 2
    shifts, angles = motion.head_motion(at, config.drift, rng)
    fields = {event: _field(subject, event, rng) for event in events}
    with atomic_write(path) as part, av.open(str(part), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(config.rate))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {config.encoding: _QUALITY}
        for index in range(number):
            time = index / config.rate
            moved = np.zeros((face.FRAME, face.FRAME, 2), np.float32)
            for event in events:
                if event.onset < time < event.offset:
                    moved += np.float32(_strength(event, time)) * fields[event]
            picture = _warp(subject, moved, shifts[index], float(angles[index]))
            picture *= np.float32(1 + config.flicker * rng.standard_normal())
            if config.noise:
                noise = rng.standard_normal(picture.shape, dtype=np.float32)
                picture += np.float32(config.noise) * noise
            frame = av.VideoFrame.from_ndarray(
                np.clip(np.rint(picture), 0, 255).astype(np.uint8), format="rgb24"
            )
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return events


def _strength(event: TrueEvent, time: float) -> float:
    """Returns the displacement in pixels at 112 x 112 at a time in seconds."""
    strength = event.amplitude * event.intensity(time)
    if event.kind == "speech":  # the mouth opens three to four times a second
        strength *= np.sin(np.pi * 3.5 * (time - event.onset)) ** 2
    return strength


def _field(
    subject: face.Face, event: TrueEvent, rng: np.random.Generator
) -> np.ndarray:
    """Returns the displacement for a strength of 1, float32 [FRAME, FRAME, 2]."""
    if event.kind == "expression":
        return motion.displacement(subject, event.label, 1.0, rng)
    y, x = np.mgrid[: face.FRAME, : face.FRAME].astype(np.float32) + 0.5
    field = np.zeros((face.FRAME, face.FRAME, 2), np.float32)
    # Landmarks that move down, and the width and height that moves with them, in half
    # widths of the face: the upper lids, or lower lip and chin.
    moving = {
        "blink": (("eye_left", 0.24, 0.1), ("eye_right", 0.24, 0.1)),
        "speech": (("lip_lower", 0.24, 0.16), ("chin", 0.36, 0.3)),
    }[event.kind]
    for name, wide, high in moving:
        px, py = subject.landmarks[name]
        if event.kind == "blink":
            py -= 0.06 * subject.radius
        away = ((x - px) / (wide * subject.radius)) ** 2
        away += ((y - py) / (high * subject.radius)) ** 2
        field[..., 1] = np.maximum(field[..., 1], np.exp(-away / 2))
    return field


def _warp(
    subject: face.Face, field: np.ndarray, shift: np.ndarray, angle: float
) -> np.ndarray:
    """Returns the frame, float32 [HEIGHT, WIDTH, 3], as ``rendering.warp`` makes it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    # Of the face's frame, in whose middle the picture's lies
    x = (x + 0.5 - WIDTH / 2) / face.SUPERSAMPLING + face.FRAME / 2
    y = (y + 0.5 - HEIGHT / 2) / face.SUPERSAMPLING + face.FRAME / 2
    cx, cy = subject.centre
    x, y = x - np.float32(cx + shift[0]), y - np.float32(cy + shift[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = cos * x + sin * y + np.float32(cx), cos * y - sin * x + np.float32(cy)
    moved = cv2.remap(
        field, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    at = [
        (position - moved[..., axis] + face.MARGIN) * face.SUPERSAMPLING - 0.5
        for axis, position in enumerate((x, y))
    ]
    return cv2.remap(
        subject.image,
        at[0],
        at[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def main(video: tyro.conf.Positional[Path], config: LongVideoConfig) -> None:
    """Write a video with brief expressions at known times.

    Args:
      video: The file, .mp4; what happens in it is written to .csv.
      config: What happens in it.
    """
    events = render(video, config)
    with atomic_write(video.with_suffix(".csv")) as part:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in dataclasses.fields(TrueEvent)])
            writer.writerows(dataclasses.astuple(event) for event in events)
    print(f"{video}: {len(events)} events in {config.seconds:g} seconds")


if __name__ == "__main__":
    try:
        tyro.cli(main, use_underscores=True, config=(tyro.conf.OmitArgPrefixes,))
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {explain(error)}") from None
