"""Which clips train, which choose the checkpoint, which are the test."""

import dataclasses

import numpy as np

from meranet_jax.config import Protocol
from meranet_jax.data.loading import Clips
from meranet_jax.errors import UserError

# Orders in which subjects are offered to a part; the one that comes closest to the
# share of each class that is wanted is taken.
_ORDERS = 16


@dataclasses.dataclass(frozen=True)
class Fold:
    """Indices of clips; the three parts share none.

    Attributes:
      name: the subject under LOSO, a number under k-fold.
      train: the clips that train.
      validation: those that choose the checkpoint.
      test: those that are read once, after that.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The three parts by name."""
        return {p: getattr(self, p) for p in ("train", "validation", "test")}


def is_subject_disjoint(protocol: Protocol) -> bool:
    """Whether a subject's clips all stand in the same part."""
    return protocol != "holdout"


def draw(
    protocol: Protocol,
    clips: Clips,
    *,
    folds: int,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
) -> list[Fold]:
    """The folds of a protocol.

    Args:
      protocol: ``holdout``, the paper's; ``holdout_subject``, one of whole subjects;
        ``kfold``; ``loso``.
      clips: what to divide.
      folds: of ``kfold``.
      test_fraction: of the clips, for the two hold-outs.
      validation_fraction: of the rest.
      seed: draws them.

    Raises:
      UserError: if there are too few clips or subjects.
    """
    if protocol == "holdout":
        fold = holdout(
            clips,
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
            seed=seed,
        )
        return [fold]
    subjects = sorted(set(clips.subjects))
    least = 3 if protocol != "kfold" else max(3, folds)
    if len(subjects) < least:
        raise UserError(
            f"--protocol={protocol} needs {least} subjects; these clips are of "
            f"{len(subjects)}."
        )
    rng = np.random.default_rng(seed)
    everyone = np.arange(len(clips))
    if protocol == "holdout_subject":
        names = ["holdout"]
        tests = [_take_subjects(clips, everyone, test_fraction, rng, left=2)]
    elif protocol == "kfold":
        names = [str(number + 1) for number in range(folds)]
        tests = _deal_subjects(clips, folds, rng)
    else:
        names = subjects
        whose = np.array(clips.subjects)
        tests = [np.flatnonzero(whose == subject) for subject in subjects]
    drawn = []
    for name, test in zip(names, tests, strict=True):
        rest = np.setdiff1d(everyone, test)
        if len({clips.subjects[index] for index in rest}) < 2:
            raise UserError(
                f"Fold {name} leaves one subject, who cannot both train and choose the "
                "checkpoint. Choose more --folds."
            )
        validation = _take_subjects(clips, rest, validation_fraction, rng)
        drawn.append(Fold(name, np.setdiff1d(rest, validation), validation, test))
    return drawn


def holdout(
    clips: Clips, *, test_fraction: float, validation_fraction: float, seed: int
) -> Fold:
    """The paper's hold-out (section 4.3), stratified by class.

    It is not subject-disjoint: a subject may stand on both sides. That is the paper's
    way, and flatters a model that learns faces.

    Args:
      clips: what to divide.
      test_fraction: share of each class that is held out for the test.
      validation_fraction: share of the rest that chooses the checkpoint.
      seed: draws the split.

    Raises:
      UserError: if a class has too few clips for each part to get one.
    """
    rng = np.random.default_rng(seed)
    parts = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(clips.classes):
        members = rng.permutation(np.flatnonzero(clips.labels == label))
        if len(members) < 3:
            raise UserError(
                f"{name} has {len(members)} clips; training, validation and test need "
                "at least one each. Leave the class out with --classes."
            )
        test = min(max(round(len(members) * test_fraction), 1), len(members) - 2)
        rest = len(members) - test
        validation = min(max(round(rest * validation_fraction), 1), rest - 1)
        parts["test"].append(members[:test])
        parts["validation"].append(members[test : test + validation])
        parts["train"].append(members[test + validation :])
    parts = {name: np.sort(np.concatenate(part)) for name, part in parts.items()}
    return Fold("holdout", **parts)


def _take_subjects(
    clips: Clips,
    among: np.ndarray,
    share: float,
    rng: np.random.Generator,
    left: int = 1,
) -> np.ndarray:
    """Clips of whole subjects that come near ``share`` of each class of ``among``.

    At least one subject is taken, and at least ``left`` are not; the last one that has
    a class is not as long as another can be.
    """
    subjects, counts = _count(clips, among)
    wanted = share * counts.sum(0)
    best = None
    for _ in range(_ORDERS):
        order = rng.permutation(len(subjects))
        taken: list[int] = []
        have = np.zeros_like(wanted)
        for index in order:
            if len(taken) == len(subjects) - left:
                break
            nearer = _miss(have + counts[index], wanted) < _miss(have, wanted)
            if nearer and (counts.sum(0) - have - counts[index] > 0).all():
                taken.append(index)
                have = have + counts[index]
        if not taken:  # one that costs the rest no class, if there is one
            costs = [((counts.sum(0) - counts[i]) == 0).sum() for i in order]
            taken = [order[int(np.argmin(costs))]]
            have = counts[taken[0]]
        if best is None or _miss(have, wanted) < best[0]:
            best = _miss(have, wanted), taken
    names = [subjects[index] for index in best[1]]
    return among[np.isin(np.array(clips.subjects)[among], names)]


def _deal_subjects(
    clips: Clips, folds: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """All clips in ``folds`` parts of whole subjects, alike in their classes."""
    everyone = np.arange(len(clips))
    subjects, counts = _count(clips, everyone)
    wanted = counts.sum(0) / folds
    best = None
    for _ in range(_ORDERS):
        # The largest first, while there is room to make up for them; equal ones in any
        # order. An empty part gains most, so none stays empty.
        order = rng.permutation(len(subjects))
        order = order[np.argsort(-counts[order].sum(-1), kind="stable")]
        owner = np.zeros(len(subjects), int)
        have = np.zeros((folds, counts.shape[1]))
        for index in order:
            gain = _miss(have, wanted) - _miss(have + counts[index], wanted)
            owner[index] = gain.argmax()
            have[owner[index]] += counts[index]
        if best is None or _miss(have, wanted).sum() < best[0]:
            best = _miss(have, wanted).sum(), owner
    owner_of = dict(zip(subjects, best[1], strict=True))
    part = np.array([owner_of[subject] for subject in clips.subjects])
    return [np.flatnonzero(part == number) for number in range(folds)]


def _count(clips: Clips, among: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The subjects of some clips, and int [S, C + 1], their clips by class and in all.

    The last column makes parts alike in size too.
    """
    whose = np.array(clips.subjects)[among]
    subjects = sorted(set(whose))
    counts = np.zeros((len(subjects), len(clips.classes) + 1), int)
    for row, subject in enumerate(subjects):
        labels = clips.labels[among[whose == subject]]
        counts[row, :-1] = np.bincount(labels, minlength=len(clips.classes))
        counts[row, -1] = len(labels)
    return subjects, counts[:, counts.sum(0) > 0]


def _miss(have: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far parts [..., C] are from what is wanted [C], in shares of it."""
    return (((have - wanted) / wanted) ** 2).sum(-1)
