"""What a candidate resembles, by the models of a recogniser, and when it cannot say."""

from collections.abc import Iterator

import numpy as np

from meranet_jax.prediction import wording
from meranet_jax.prediction.cut import Cut
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.prediction.results import Event, Recognition
from meranet_jax.video.candidates import Settings, is_motion
from meranet_jax.video.facial_motion import part

# Frames of the recording that a clip needs at least
_FEWEST = 5


def recognise(
    event: Event,
    clip: Cut,
    of_models: np.ndarray,
    recogniser: Recogniser,
    *,
    too_small: bool,
    settings: Settings,
) -> Recognition:
    """Returns what an event resembles.

    A calibration is that of single models. Each model is therefore calibrated by
    itself: the probabilities are the mean of theirs, and a class is plausible if it is
    in the sets of more than half of them.

    Args:
      event: the event.
      clip: its clip.
      of_models: probabilities of each model, [M, C].
      recogniser: whose models they are.
      too_small: whether the face is too small.
      settings: of the search, whose thresholds say what is no motion.
    """
    plausible = None
    if recogniser.calibration is not None:
        likely = recogniser.calibration.sets(of_models).mean(0) > 0.5
        plausible = tuple(
            name for name, yes in zip(recogniser.classes, likely, strict=True) if yes
        )
        of_models = recogniser.calibration.calibrated(of_models)
    distinct, frames = clip.distinct(recogniser.features)
    reasons = ["the face is too small"] if too_small else []
    reasons += _reasons(event, plausible, distinct, frames, settings)
    return Recognition(
        classes=recogniser.classes,
        probabilities=tuple(float(p) for p in of_models.mean(0)),
        plausible=plausible,
        frames=frames,
        distinct=distinct,
        reasons=tuple(reasons),
    )


def _reasons(
    event: Event,
    plausible: tuple[str, ...] | None,
    distinct: int,
    frames: int,
    settings: Settings,
) -> Iterator[str]:
    """Yields why there is no answer for an event."""
    if event.kind == "macro":
        yield f"it takes {event.duration:.2f} s, longer than a micro-expression"
    imported = event.origin == "imported"
    if imported and event.strength is not None and event.noise is not None:
        if not is_motion(event.strength, event.noise, settings):
            yield "no motion is larger than the noise of the recording"
    if "head motion" in event.flags:
        yield "the head moves"
    if "blink" in event.flags and all(part(name) == "brow" for name in event.regions):
        yield "the eyes blink, which moves the brows, too"
    if distinct < min(_FEWEST, frames):
        yield f"only {distinct} of the {frames} frames of its clip are distinct"
    if plausible is not None and not plausible:
        yield "it is unlike the clips that the recogniser was calibrated on"
    if plausible is not None and len(plausible) > 1:
        yield f"several classes are plausible: {wording.listed(plausible)}"
