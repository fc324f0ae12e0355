"""Notes on a recording and on the recogniser, for the user."""

from collections.abc import Iterator, Sequence

import numpy as np

from meranet_jax.prediction import wording
from meranet_jax.prediction.found_faces import SMALLEST
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.prediction.results import FoundFace, RecogniserDescription
from meranet_jax.video.measurement import Measurement
from meranet_jax.video.stream import Stream

# Number of distinct frames of a clip below which a warning is due
_FEW = 8

# Hz; below it a micro-expression of half a second has two frames or fewer.
_SLOWEST = 5.0

# Seconds by which a file may be longer than its pictures, as its sound can be, and
# below which a recording is short for a micro-expression.
_MISSING, _SHORT = 0.5, 1.0


def of_recogniser(recogniser: Recogniser) -> RecogniserDescription:
    """Describes the recogniser."""
    rates = {rate for rates in recogniser.frame_rates.values() for rate in rates}
    calibration = recogniser.calibration
    limits = [
        "A class is the label of the training clips that a candidate resembles. It "
        "does not say what a person feels."
    ]
    generated = bool(recogniser.datasets) and all(
        name.startswith("synthetic") for name in recogniser.datasets
    )
    if generated:
        limits.append(
            "The recogniser was trained on generated faces only, and never tested on "
            "recordings of people."
        )
    if calibration is None:
        limits.append(
            "The recogniser is not calibrated: its probabilities may be too high or "
            "too low, and it names the most probable class however close others are."
        )
    else:
        limits.append(
            f"The recogniser was calibrated on {calibration.subjects} "
            f"{'generated faces' if generated else 'people'}. This does not carry over "
            "to other cameras or people."
        )
    coverage = observed = None
    if calibration is not None and calibration.new_people:
        coverage, observed = 1 - calibration.miss, calibration.coverage
        if recogniser.models > 1:
            # M. Gasparin and A. Ramdas, "Merging uncertainty sets via majority vote",
            # 2024: the sets of a majority miss at most twice as often.
            coverage, observed = max(1 - 2 * calibration.miss, 0.0), None
            limits.append(
                f"Its {recogniser.models} models were calibrated one by one. "
                "Probabilities are the mean of theirs, and a class is plausible if it "
                "is in the sets of more than half of the models."
            )
    elif calibration is not None:
        limits.append(
            "It may have been trained on the people that it was calibrated on, so that "
            "the right class of a new person is among the plausible ones less often."
        )
    return RecogniserDescription(
        source=wording.file_name(recogniser.source),
        title=f"{recogniser.config.title}, input {recogniser.config.input}",
        trained_on=recogniser.datasets,
        frame_rates=tuple(sorted(rates)),
        models=recogniser.models,
        coverage=coverage,
        observed_coverage=observed,
        limits=tuple(limits),
    )


def of_recording(
    recording: Stream,
    measured: Measurement,
    recorded: float | None,
    faces: Sequence[FoundFace],
    recogniser: Recogniser,
    blinks: int,
) -> Iterator[str]:
    """Yields what the user should know of a recording.

    Args:
      recording: the video or folder.
      measured: what was measured in it.
      recorded: its frame rate in Hz, by the times of its frames; None if unknown.
      faces: that were looked at.
      recogniser: that answers.
      blinks: number of blinks that move the brows, too, and are no candidates.
    """
    if not faces:
        yield (
            "No face was found. Faces must be upright, look towards the camera, and "
            f"have eyes that are {SMALLEST:.0f} pixels apart or more."
        )
    if recording.interlaced:
        yield (
            "The video is interlaced: each frame mixes two instants. Deinterlace it "
            "first."
        )
    if measured.damaged:
        number = len(measured.damaged)
        yield (
            f"{number} of {len(measured.all_numbers)} frames "
            f"{'was' if number == 1 else 'were'} damaged and not used"
            + (f"; the first: {measured.damage}." if measured.damage else ".")
        )
    seconds = float(measured.all_times[-1]) if len(measured.all_times) else 0.0
    # A file's length includes the time for which the last frame is shown.
    end = seconds + (0.0 if recorded is None else 1 / recorded)
    if recording.duration and recording.duration - end > _MISSING:
        yield (
            f"The last frame is shown at {seconds:.2f} s, but the file gives a length "
            f"of {recording.duration:.2f} s: its end may be missing."
        )
    if seconds < _SHORT:
        yield (
            f"The recording is only {seconds:.2f} s long. A candidate is found only if "
            "its motion rises and falls within the recording."
        )
    numbers = measured.all_numbers
    if len(numbers) and (missing := int(numbers[-1] - numbers[0]) + 1 - len(numbers)):
        yield (
            f"{missing} of the numbers from {numbers[0]} to {numbers[-1]} "
            f"{'has' if missing == 1 else 'have'} no image."
        )
    gaps = np.diff(measured.all_times)
    if len(gaps) and gaps.max() > 3 * np.median(gaps):
        yield (
            f"Frames are missing: the longest time between two frames is "
            f"{gaps.max():.2f} s, the usual one {np.median(gaps):.3f} s."
        )
    if recorded is not None and recorded < _SLOWEST:
        yield (
            f"At {recorded:.3g} frames a second a micro-expression has at most two "
            "frames. None can be found."
        )
    for face in faces:
        for problem in face.problems:
            yield {
                "too small": f"Face {face.identity} is too small: its eyes are "
                f"{face.eye_distance:.0f} pixels apart, and "
                f"{SMALLEST * measured.scale:.0f} are needed.",
                "turned away": f"Face {face.identity} is turned away for most of the "
                "time, so that half of it is hidden.",
                "shaking": f"Face {face.identity} or the camera moves fast for much of "
                "the time.",
            }[problem]
    if blinks:
        yield (
            f"{blinks} {'blink was' if blinks == 1 else 'blinks were'} left out, which "
            "moved the brows and nothing else. An expression of the brows alone at the "
            "same time is not found."
        )
    if 0 < recogniser.models < recogniser.folds:
        yield (
            f"Only {recogniser.models} of the {recogniser.folds} folds of the run are "
            "finished; only their models were used."
        )
    settings = recogniser.clip_settings(recorded)
    unknown = settings.rate is None and settings.sampling == "apex"
    if "clip" in recogniser.features and unknown and recorded is not None:
        yield (
            "The frame rate of the clips that the recogniser was trained on is not "
            f"known: a clip has {settings.window} frames of this recording, "
            f"{settings.window / recorded:.2f} s. If the clips of training were much "
            "shorter or longer, its answers are unreliable."
        )
    if "clip" in recogniser.features and recorded is not None:
        rate = settings.rate
        if rate is not None and settings.sampling == "apex":
            seconds = settings.window / rate
            distinct = min(settings.frames, max(round(seconds * recorded), 1))
            if distinct < settings.frames:
                yield (
                    f"About {distinct} of the {settings.frames} frames of a clip are "
                    f"distinct: the recording has {recorded:.3g} frames a second, and "
                    f"the recogniser was trained at {rate:g} Hz."
                    + (" These are few." if distinct < _FEW else "")
                )
