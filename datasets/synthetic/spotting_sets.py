"""Sets of long videos on which the spotting of expressions is measured."""

import dataclasses
from collections.abc import Mapping, Sequence

from datasets.synthetic.long_video import LongVideoConfig
from meranet_jax.errors import DataError

# Seconds of the shortest video that can be drawn
_SHORTEST = 4


@dataclasses.dataclass(frozen=True)
class VideoSet:
    """Videos that differ in their seed only.

    Attributes:
      title: what happens in them, for the table.
      seeds: number of videos. Drawn faces differ; there is one photograph.
      config: what happens in a video; its seed is replaced.
    """

    title: str
    seeds: int
    config: LongVideoConfig


# Drawn faces of the same seed are the same in all sets, and at both frame rates. At 200
# Hz a minute takes almost seven times as long to draw.
_EASY = LongVideoConfig(seconds=60, expressions=15, encoding="qp")
_EASY_200 = dataclasses.replace(_EASY, seconds=30, rate=200)
_STILL = LongVideoConfig(seconds=600, expressions=0, blinks=15, encoding="qp")
_NOTHING = dataclasses.replace(_STILL, seconds=60, blinks=0, drift=0)

SETS: Mapping[str, VideoSet] = {
    "drawn_30": VideoSet("drawn faces at 30 Hz", 4, _EASY),
    "drawn_200": VideoSet("drawn faces at 200 Hz", 4, _EASY_200),
    "photograph_30": VideoSet(
        "a warped photograph at 30 Hz",
        4,
        dataclasses.replace(_EASY, faces="photograph"),
    ),
    "photograph_200": VideoSet(
        "a warped photograph at 200 Hz",
        3,
        dataclasses.replace(_EASY_200, faces="photograph"),
    ),
    "wild": VideoSet(
        "weak expressions among blinks, speech, sway and noise, drawn faces at 30 Hz",
        4,
        dataclasses.replace(
            _EASY, amplitude=(0.2, 1.0), blinks=15, speech=4, drift=2.5, noise=4
        ),
    ),
    "still": VideoSet("a still drawn face with blinks and sway at 30 Hz", 1, _STILL),
    "nothing": VideoSet("a drawn face that does not move at 30 Hz", 2, _NOTHING),
    "compressed_30": VideoSet(
        "as drawn_30, compressed as videos that are watched",
        2,
        dataclasses.replace(_EASY, encoding="crf"),
    ),
    "compressed_200": VideoSet(
        "as drawn_200, compressed as videos that are watched",
        1,
        dataclasses.replace(_EASY_200, encoding="crf"),
    ),
    "compressed_nothing": VideoSet(
        "as nothing, compressed as videos that are watched",
        1,
        dataclasses.replace(_NOTHING, encoding="crf"),
    ),
}


def videos(
    names: Sequence[str] = (),
    *,
    minutes: float | None = None,
    seeds: int | None = None,
) -> list[tuple[str, LongVideoConfig]]:
    """Returns the set and the configuration of each video.

    Args:
      names: of the sets; empty for all.
      minutes: length of each video; None for that of its set.
      seeds: number of videos of each set; None for that of the set.

    Raises:
      DataError: if there is no such set, or a number cannot be used.
    """
    unknown = [name for name in names if name not in SETS]
    if unknown or len(set(names)) < len(names):
        raise DataError(
            f"--sets {' '.join(names)}: name each set once. The sets are "
            f"{', '.join(SETS)}."
        )
    if minutes is not None and not _SHORTEST / 60 <= minutes <= 24 * 60:
        raise DataError(
            f"--minutes={minutes:g} is the length of each video: give at least "
            f"{_SHORTEST / 60:.3f}, which is {_SHORTEST} seconds, and at most a day."
        )
    if seeds is not None and seeds < 1:
        raise DataError(f"--seeds={seeds} must be at least 1.")
    return [
        (
            name,
            dataclasses.replace(
                SETS[name].config,
                seconds=SETS[name].config.seconds if minutes is None else minutes * 60,
                seed=seed,
            ),
        )
        for name in names or SETS
        for seed in range(SETS[name].seeds if seeds is None else seeds)
    ]
