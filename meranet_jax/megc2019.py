"""The clips of the composite data set of MEGC 2019.

See et al., "MEGC 2019 - The second facial micro-expressions grand challenge", FG 2019,
combine 442 clips of 68 subjects of CASME II, SMIC and SAMM in three classes. The list
of clips is not needed: the emotions and apexes in the tables determine it.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping

# Happiness is positive, surprise is a class of its own, "others" is excluded and all
# remaining emotions are negative. CAS(ME)^2 already has labels named positive and
# negative. "neutral" names clips without an expression.
CLASSES = ("negative", "positive", "surprise")
POSITIVE = ("happiness", "positive")
_EXCLUDED = ("others", "other", "neutral")


def class_of(emotion: str) -> str | None:
    """Returns the class of an emotion; None if it is excluded.

    A label of two emotions, ``negative+repression``, belongs to the class of both, and
    is excluded if they belong to different classes.
    """
    classes = {_class_of_one(part) for part in emotion.split("+")}
    return classes.pop() if len(classes) == 1 else None


def _class_of_one(emotion: str) -> str | None:
    if emotion in _EXCLUDED:
        return None
    if emotion in POSITIVE:
        return "positive"
    return "surprise" if emotion == "surprise" else "negative"


def count_classes(emotions: Iterable[str]) -> dict[str, int]:
    """Returns the number of clips of each class, by their emotions."""
    counts = collections.Counter(map(class_of, emotions))
    return {name: counts[name] for name in CLASSES}


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which clips of a data set are in the composite data set.

    Attributes:
      counts: number of its clips in the composite data set, by class.
      emotions: emotions of which clips are included.
      needs_apex: whether the table must give an apex after the onset.
      other_emotions: emotions that the composite data set has for some clips, and the
        current table has not, by clip id in lower case.
    """

    counts: Mapping[str, int]
    emotions: frozenset[str]
    needs_apex: bool = False
    other_emotions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def exclusion(
        self, *, clip_id: str, emotion: str, onset: int, apex: int, apex_estimated: bool
    ) -> str | None:
        """Returns why a clip is not in the composite data set; None if it is.

        Args:
          clip_id: ``sub24/EP10_03``, without the name of the data set.
          emotion: as in the table.
          onset: frame number of the onset.
          apex: frame number of the apex.
          apex_estimated: whether the table gives no usable apex.
        """
        own = self.other_emotions.get(clip_id.partition("@")[0].lower(), emotion)
        if own not in self.emotions:
            if own != emotion:
                return f"{emotion}, but {own} in the table that MEGC 2019 used"
            return f"{emotion}, not in MEGC 2019"
        if self.needs_apex and apex_estimated:
            return "no apex in the table, not in MEGC 2019"
        if self.needs_apex and apex == onset:
            return "apex at the onset, not in MEGC 2019"
        return None

    def describe(self, counts: Mapping[str, int]) -> str:
        """Compares the number of clips that were found with that of MEGC 2019.

        Args:
          counts: number of clips by class.
        """
        found = {name: counts.get(name, 0) for name in CLASSES}
        if found == self.counts:
            return f"all {_total(found)} clips of MEGC 2019 ({_by_class(found)})"
        text = (
            f"{_total(found)} clips by the rule of MEGC 2019 ({_by_class(found)}), "
            f"which has {_total(self.counts)} ({_by_class(self.counts)})"
        )
        more = {n: found[n] - count for n, count in self.counts.items()}
        if listed := [
            f"{n} {count} too many" for n, count in more.items() if count > 0
        ]:
            text += (
                f"; {', '.join(listed)}: the table has rows or emotions that are not "
                "those of the publication, so results are not comparable with "
                "published ones"
            )
        return text


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _by_class(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in CLASSES)


_RULES = {
    "casme2": Rule(
        counts={"negative": 88, "positive": 32, "surprise": 25},
        emotions=frozenset({"disgust", "happiness", "repression", "surprise"}),
        needs_apex=True,
        # MEGC 2019 used the table of 2014. That of 2019 calls these three surprise.
        other_emotions=dict.fromkeys(
            ("sub24/ep07_01", "sub24/ep07_04f", "sub24/ep10_03"), "sadness"
        ),
    ),
    "smic": Rule(
        counts={"negative": 70, "positive": 51, "surprise": 43},
        emotions=frozenset({"negative", "positive", "surprise"}),
    ),
    "samm": Rule(
        counts={"negative": 92, "positive": 26, "surprise": 15},
        emotions=frozenset(
            "anger contempt disgust fear happiness sadness surprise".split()
        ),
    ),
}


def find(dataset: str, camera: str | None = None) -> Rule | None:
    """Returns the rule for a data set; None if it is not in the composite data set.

    Args:
      dataset: its name, with or without a configuration.
      camera: of the recordings of SMIC, of which only those of HS are included; None
        for the default, HS.
    """
    name = dataset.partition("/")[0]
    if name == "smic" and camera not in (None, "HS"):
        return None
    return _RULES.get(name)
