"""Search for brief facial motion, from what was measured of a face.

No training is needed. A candidate is a rise and fall of the motion of some region of
the face that is larger than a fixed threshold, and than the motion that the face shows
all the time in this recording. Most candidates in recordings of people are no
micro-expressions.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from meranet_jax.video import motion_signals, rises
from meranet_jax.video.candidates import ROUNDING, Candidate, Settings
from meranet_jax.video.facial_motion import REGIONS, part
from meranet_jax.video.measurement import FaceMotion, Measurement
from meranet_jax.video.rises import LEAST_OVERLAP, Rise, overlap

# The squares of the lips share pixels.
_PLACES = [
    "lips" if region.name.startswith("lip_") else region.name for region in REGIONS
]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search has found, in ascending order of onsets.

    Attributes:
      candidates: the intervals in which the face moves briefly.
      blinks: brief motion of the brows and nothing else, while an eye blinks.
    """

    candidates: tuple[Candidate, ...]
    blinks: tuple[Candidate, ...]


def spot(
    face: FaceMotion, measurement: Measurement, settings: Settings = Settings()
) -> list[Candidate]:
    """Returns the candidates of a face; see ``search``."""
    return list(search(face, measurement, settings).candidates)


def search(
    face: FaceMotion, measurement: Measurement, settings: Settings = Settings()
) -> Found:
    """Finds the intervals in which a face moves briefly.

    Args:
      face: what was measured of it.
      measurement: what it is part of.
      settings: thresholds.
    """
    signals, noise = motion_signals.of_face(face, measurement)
    found = []
    for one in signals:
        for group in rises.of_window(one, noise, settings):
            candidate = rises.candidate(group, one, noise, settings)
            length = candidate.offset - candidate.onset
            if length >= settings.least_length - ROUNDING and (
                _is_blink(candidate) or _is_facial_motion(candidate, group, settings)
            ):
                found.append(candidate)
    # Together, since one window may show the blink and the other one not
    kept = _merged(found)
    return Found(
        tuple(one for one in kept if not _is_blink(one)),
        tuple(one for one in kept if _is_blink(one)),
    )


def _is_blink(candidate: Candidate) -> bool:
    """Returns whether a blink explains all that moves, since it moves the brows, too.

    What lasts longer than a micro-expression is no blink, but may contain one.
    """
    return (
        "blink" in candidate.flags
        and candidate.kind == "micro"
        and all(part(name) == "brow" for name in candidate.regions)
    )


def _is_facial_motion(
    candidate: Candidate, group: Sequence[Rise], settings: Settings
) -> bool:
    """Returns whether several places move, or one moves far, without a blink's help."""
    if "blink" in candidate.flags and candidate.kind == "micro":
        group = [rise for rise in group if REGIONS[rise.region].part != "brow"]
    several = len({_PLACES[rise.region] for rise in group}) > 1
    return several or any(rise.height > settings.least_alone for rise in group)


def _merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keeps the strongest of candidates that windows which overlap both have."""
    kept: list[Candidate] = []
    for one in sorted(candidates, key=lambda found: -found.strength):
        if all(
            overlap(one.onset, one.offset, k.onset, k.offset) <= LEAST_OVERLAP
            for k in kept
        ):
            kept.append(one)
    return sorted(kept, key=lambda found: (found.onset, found.offset))
