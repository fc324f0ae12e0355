"""Probabilities that can be believed, and sets of classes that contain the true one.

One temperature makes the probabilities of a run as confident as it is right (C. Guo et
al., "On Calibration of Modern Neural Networks", ICML 2017). A conformal set has the
true class of a clip of a new person with a chosen probability, whatever the network
(Y. Lee, R. Foygel Barber and R. Willett, "Distribution-free inference with hierarchical
data", 2023): clips of one person are alike, so that people, and not clips, are counted.
Both hold for people and cameras like those that they were calibrated on.
"""

import dataclasses
import math

import numpy as np
from scipy.optimize import minimize_scalar

from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import Predictions

# Of temperatures, as natural logarithms
_RANGE = (np.log(0.05), np.log(20.0))

# Smallest probability, so that logarithms are finite
_LEAST = 1e-7


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How to read the probabilities of a recogniser.

    Attributes:
      classes: names of the classes.
      temperature: by which logarithms of probabilities are divided; above 1 the
        recogniser was too sure of itself.
      miss: probability that a set does not have the true class, 0 to 1.
      threshold: a class is in the set if its calibrated probability is at least this;
        0 if there are too few people for another set than that of all classes.
      subjects: number of people that it was calibrated on.
      clips: number of their clips.
      coverage: share of the clips of each person whose set, calibrated on all others,
        has the true class; mean over people. None if there is only one.
      set_size: mean size of these sets, likewise.
      new_people: whether the recogniser was trained on none of these people. If it may
        have been, a set need not have the class of a clip of a new person that often.
    """

    classes: tuple[str, ...]
    temperature: float
    miss: float
    threshold: float
    subjects: int
    clips: int
    coverage: float | None
    set_size: float | None
    new_people: bool = True

    def calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities.

        Args:
          probabilities: of the recogniser, [..., C].
        """
        return scale(probabilities, self.temperature)

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns which classes are in the set of each clip.

        Args:
          probabilities: of the recogniser, [..., C].

        Returns:
          bool [..., C]; none if no class is probable enough, for a clip unlike those
          that it was calibrated on.
        """
        return self.calibrated(probabilities) >= self.threshold


def calibrate(predictions: Predictions, miss: float = 0.1) -> Calibration:
    """Calibrates on the predictions of clips of people who were not trained on.

    Args:
      predictions: of all folds; several seeds count as further clips of each person.
      miss: probability that a set does not have the true class.

    Raises:
      UserError: if it is not between 0 and 1, or there are no predictions.
    """
    if not 0 < miss < 1:
        raise UserError(f"A probability of {miss:g} must be between 0 and 1.")
    if not len(predictions):
        raise UserError("There are no predictions to calibrate on.")
    probabilities = np.asarray(predictions.probabilities, np.float64)
    truth = predictions.truth
    names, person = _people(predictions)
    temperature = fit_temperature(probabilities, truth)
    true = _of_truth(scale(probabilities, temperature), truth)
    coverage, sizes = [], []
    if len(names) > 1:
        for index in range(len(names)):
            own = person == index
            # Nothing of a person is used to calibrate what is tested on them.
            of_others = fit_temperature(probabilities[~own], truth[~own])
            others = _of_truth(scale(probabilities[~own], of_others), truth[~own])
            least = _threshold(others, person[~own], miss)
            scaled = scale(probabilities[own], of_others)
            coverage.append((_of_truth(scaled, truth[own]) >= least).mean())
            sizes.append((scaled >= least).sum(-1).mean())
    return Calibration(
        classes=predictions.classes,
        temperature=temperature,
        miss=miss,
        threshold=_threshold(true, person, miss),
        subjects=len(names),
        clips=len(predictions),
        coverage=float(np.mean(coverage)) if coverage else None,
        set_size=float(np.mean(sizes)) if sizes else None,
    )


def people_needed(miss: float) -> int:
    """Returns the number of people below which a set has all classes.

    Args:
      miss: probability that a set does not have the true class.
    """
    # The new person has the same weight, 1 / (people + 1), as each of the others.
    return max(1, math.ceil((1 - miss) / miss - 1e-9))


def calibrate_by_others(predictions: Predictions) -> np.ndarray | None:
    """Calibrates the probabilities of each person on all others.

    Measured on the clips that a temperature was chosen on, a calibration looks better
    than it is.

    Args:
      predictions: see ``calibrate``.

    Returns:
      Calibrated probabilities, float64 [N, C]; None if there is only one person.
    """
    names, person = _people(predictions)
    if len(names) < 2:
        return None
    probabilities = np.asarray(predictions.probabilities, np.float64)
    scaled = np.empty_like(probabilities)
    for index in range(len(names)):
        own = person == index
        of_others = fit_temperature(probabilities[~own], predictions.truth[~own])
        scaled[own] = scale(probabilities[own], of_others)
    return scaled


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean negative log-likelihood (NLL) of the true classes.

    Args:
      probabilities: [N, C]; smaller ones than 1e-7 count as that.
      truth: indices of the true classes, int [N].
    """
    true = _of_truth(np.asarray(probabilities, np.float64), truth)
    return float(-np.log(np.clip(true, _LEAST, None)).mean())


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divides the logarithms of probabilities [..., C] by a temperature."""
    logits = np.log(np.clip(probabilities, _LEAST, None)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Returns the temperature of the largest likelihood.

    Args:
      probabilities: [N, C].
      truth: indices of the true classes, int [N].
    """

    def loss(logarithm: float) -> float:
        return log_loss(scale(probabilities, float(np.exp(logarithm))), truth)

    return float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded").x))


def _people(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names of all people, and whose each prediction is, int [N]."""
    people = [
        f"{dataset}/{subject}"
        for dataset, subject in zip(
            predictions.datasets, predictions.subjects, strict=True
        )
    ]
    names, person = np.unique(people, return_inverse=True)
    return names, person


def _of_truth(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return probabilities[np.arange(len(truth)), truth]


def _threshold(true: np.ndarray, person: np.ndarray, miss: float) -> float:
    """Returns the probability that a class in a set has at least.

    Args:
      true: probability of the true class of each clip, [N].
      person: whose clip each is, int [N].
      miss: probability that a set does not have the true class.
    """
    _, person, number = np.unique(person, return_inverse=True, return_counts=True)
    people = len(number)
    # Each person has the same weight, and so has the new one, for whom anything is
    # possible.
    weights = 1 / ((people + 1) * number[person])
    order = np.argsort(-true)
    enough = np.cumsum(weights[order]) >= (1 - miss) - 1e-12
    if not enough.any():
        return 0.0
    return float(true[order][int(enough.argmax())])
