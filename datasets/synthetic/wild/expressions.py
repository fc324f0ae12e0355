"""Emotions, the action units that show them, and how a person shows them.

The units of each emotion are those that coders of micro-expressions name for it; they
overlap, as they do in CASME II. Strengths, sides and preferences are ours.
"""

import dataclasses

import numpy as np

# Action units of FACS that faces can show.
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 26)

# Units that are often seen on one side of a face only
_ONE_SIDED = (2, 10, 12, 14, 15)

NEUTRAL = "neutral"

# The displays of each emotion, as sets of action units, most usual first.
DISPLAYS: dict[str, tuple[tuple[int, ...], ...]] = {
    "disgust": ((4, 7), (4, 9), (9, 10), (10,), (4, 7, 9), (7, 10, 17)),
    "fear": ((1, 2, 4), (1, 2, 4, 5), (1, 4, 20)),
    "happiness": ((12,), (6, 12), (6, 7, 12), (12, 26)),
    "others": ((4,), (7,), (14,), (4, 7), (5,), (4, 14), (17, 24), (12, 17)),
    "repression": ((15,), (14,), (17,), (15, 17), (14, 24), (12, 15, 17)),
    "sadness": ((1, 4), (1, 15), (1,), (1, 4, 17)),
    "surprise": ((1, 2), (1, 2, 5), (1, 2, 26), (2,), (1, 2, 5, 26)),
}

# Clips of each emotion in CASME II, by the table of 2019.
PROPORTIONS = {
    "disgust": 63,
    "fear": 2,
    "happiness": 32,
    "others": 99,
    "repression": 27,
    "sadness": 4,
    "surprise": 28,
}

# Share of clips without any expression
_NEUTRAL_SHARE = 0.1

# All emotions of the records
EMOTIONS = tuple(sorted((*DISPLAYS, NEUTRAL)))


@dataclasses.dataclass(frozen=True)
class Style:
    """How a person shows emotions.

    Attributes:
      displays: probability of each of ``DISPLAYS`` by emotion.
      gains: strength of each of ``UNITS`` relative to others, left and right side of
        the image, float [K, 2].
      turns: rotation in radians of the direction of each unit's motion, float [K].
      reaches: factor of the extent of each unit's motion, float [K].
      speed: factor of the duration of expressions.
      amplitude: factor of the amplitude of expressions.
      restless: factor of the frequency of other movements.
    """

    displays: dict[str, np.ndarray]
    gains: np.ndarray
    turns: np.ndarray
    reaches: np.ndarray
    speed: float
    amplitude: float
    restless: float


def draw_style(rng: np.random.Generator) -> Style:
    """Draws the style of a person."""
    count = len(UNITS)
    gains = np.exp(rng.normal(0, 0.25, (count, 1)) + rng.normal(0, 0.18, (count, 2)))
    for unit in _ONE_SIDED:
        if rng.random() < 0.15:  # this person moves one side
            gains[UNITS.index(unit), rng.integers(2)] *= rng.uniform(0, 0.3)
    displays = {}
    for emotion, sets in DISPLAYS.items():
        usual = 1 / np.arange(1, len(sets) + 1)
        displays[emotion] = rng.dirichlet(4 * usual / usual.sum())
    return Style(
        displays=displays,
        gains=gains,
        turns=np.radians(rng.normal(0, 10, count)),
        reaches=np.exp(rng.normal(0, 0.15, count)),
        speed=float(np.exp(rng.normal(0, 0.2))),
        amplitude=float(np.exp(rng.normal(0, 0.15))),
        restless=float(np.exp(rng.normal(0, 0.3))),
    )


def draw_emotions(rng: np.random.Generator, clips: tuple[int, int]) -> list[str]:
    """Draws the emotions of the clips of a person.

    Args:
      rng: the random numbers of the person.
      clips: minimum and maximum of the number of clips.

    Returns:
      The emotion of each clip. Over many people the proportions are ``PROPORTIONS``;
      each person has a mixture of their own.
    """
    count = int(rng.integers(clips[0], clips[1] + 1))
    weights = np.array(list(PROPORTIONS.values()), float)
    mixture = rng.dirichlet(8 * weights / weights.sum())
    emotions = rng.choice(list(PROPORTIONS), count, p=mixture)
    emotions[rng.random(count) < _NEUTRAL_SHARE] = NEUTRAL
    return [str(emotion) for emotion in emotions]


def draw_display(
    rng: np.random.Generator, style: Style, emotion: str
) -> dict[int, tuple[float, float]]:
    """Draws the action units of a clip.

    Args:
      rng: the random numbers of the clip.
      style: of the person.
      emotion: one of ``DISPLAYS``.

    Returns:
      The strength on the left and right side of the image by unit; the largest is 1.
    """
    sets = DISPLAYS[emotion]
    units = sets[rng.choice(len(sets), p=style.displays[emotion])]
    strengths = {}
    for unit in units:
        both = style.gains[UNITS.index(unit)] * rng.uniform(0.6, 1.4)
        both = both * np.exp(rng.normal(0, 0.1, 2))
        if unit in _ONE_SIDED and rng.random() < 0.1:
            both[rng.integers(2)] *= rng.uniform(0, 0.3)
        strengths[unit] = both
    largest = max(both.max() for both in strengths.values())
    return {unit: tuple((s / largest).tolist()) for unit, s in strengths.items()}
