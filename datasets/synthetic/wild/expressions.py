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
NEUTRAL_SHARE = 0.1

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


def draw_emotions(
    rng: np.random.Generator, people: int, clips: tuple[int, int]
) -> list[list[str]]:
    """Draws the emotions of the clips of a group of people.

    Args:
      rng: the random numbers of the group.
      people: their number.
      clips: minimum and maximum of the number of clips of each.

    Returns:
      The emotions of the clips of each person. All clips of the group together have the
      proportions ``PROPORTIONS``, with at least one clip of each emotion, and
      ``NEUTRAL_SHARE`` of neutral ones; each person shows some emotions more often than
      others.
    """
    free = rng.integers(clips[0], clips[1] + 1, people)
    neutral = round(NEUTRAL_SHARE * free.sum())
    tokens = np.repeat(
        [*PROPORTIONS, NEUTRAL], [*_apportion(free.sum() - neutral), neutral]
    )
    liking = dict(
        zip(
            [*PROPORTIONS, NEUTRAL],
            np.exp(rng.normal(0, 0.8, (len(PROPORTIONS) + 1, people))),
            strict=True,
        )
    )
    emotions: list[list[str]] = [[] for _ in range(people)]
    for token in rng.permutation(tokens).tolist():
        weights = free * liking[token]
        person = rng.choice(people, p=weights / weights.sum())
        emotions[person].append(token)
        free[person] -= 1
    return emotions


def _apportion(total: int) -> list[int]:
    """Divides a number of clips in ``PROPORTIONS``, by the largest remainders."""
    weights = np.array(list(PROPORTIONS.values()), float)
    shares = np.maximum(total * weights / weights.sum(), 1)
    counts = shares.astype(int)
    while counts.sum() < total:
        counts[np.argmax(shares - counts)] += 1
    while counts.sum() > total:  # after rare emotions were raised to one
        counts[np.argmax(counts)] -= 1
    return counts.tolist()


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
