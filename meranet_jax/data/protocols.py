"""Evaluation protocols: divide clips into training, validation and test parts."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from meranet_jax.config import Protocol
from meranet_jax.data.clips import Clips
from meranet_jax.errors import UserError

# Number of random orders of subjects that are tried. The one whose parts are closest to
# the target number of clips of each class is used.
_NUM_ORDERS = 16

# Second part of the key of the random numbers of ``limit``; the orders of epochs have
# the number of the epoch there.
_LIMIT = 2**32


@dataclasses.dataclass(frozen=True)
class Fold:
    """One division of clips into three disjoint parts, given as indices.

    Attributes:
      name: the test subject under LOSO, the tested data sets under ``lodo`` and
        ``cross_dataset``, a number under k-fold, otherwise ``holdout``.
      train: int [N], the clips that the model is trained on.
      validation: int [N], the clips that select the checkpoint.
      test: int [N], the clips that are predicted once, after that.
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
    """Returns whether the parts of a fold share no subjects."""
    return protocol != "holdout"


def draw(
    protocol: Protocol,
    clips: Clips,
    *,
    folds: int,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
    tested_datasets: Sequence[str] = (),
) -> list[Fold]:
    """Draws the folds of a protocol at random.

    Equal arguments give equal folds.

    Args:
      protocol: ``holdout``, the paper's protocol; ``holdout_subject``, a hold-out with
        disjoint subjects; ``kfold``; ``loso``, leave one subject out; ``lodo``, leave
        one data set out; or ``cross_dataset``, which tests some data sets.
      clips: the clips to divide.
      folds: the number of folds of ``kfold``.
      test_fraction: the fraction of clips in the test part of a hold-out.
      validation_fraction: the fraction of the other clips in the validation part.
      seed: the random seed.
      tested_datasets: the data sets that ``cross_dataset`` tests, without their
        configurations.

    Raises:
      UserError: if there are too few clips, subjects or data sets, or a person is in a
        data set that is tested and in one that is trained on.
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
    of_datasets = protocol in ("lodo", "cross_dataset")
    min_subjects = 3 if protocol != "kfold" else max(3, folds)
    if len(subjects) < min_subjects:
        raise UserError(
            f"--protocol={protocol} needs {min_subjects} subjects or more; these clips "
            f"have {len(subjects)}. Choose "
            + ("fewer --folds or " if len(subjects) >= 3 else "")
            + "--protocol=holdout, which tests no new people."
        )
    rng = np.random.default_rng(seed)
    all_clips = np.arange(len(clips))
    if protocol == "holdout_subject":
        names = ["holdout"]
        tests = [_sample_subjects(clips, all_clips, test_fraction, rng, min_rest=2)]
    elif of_datasets:
        names, tests = _by_dataset(protocol, clips, tested_datasets)
    elif protocol == "kfold":
        names = [str(number + 1) for number in range(folds)]
        tests = _partition_subjects(clips, folds, rng)
    else:
        names = subjects
        subject_of_clip = np.array(clips.subjects)
        tests = [np.flatnonzero(subject_of_clip == subject) for subject in subjects]
    drawn = []
    for name, test in zip(names, tests, strict=True):
        rest = np.setdiff1d(all_clips, test)
        if len({clips.subjects[index] for index in rest}) < 2:
            raise UserError(
                f"Fold {name} leaves one subject for training and validation, which "
                "need at least one each. Choose "
                + ("other data sets." if of_datasets else "more --folds.")
            )
        validation = _sample_subjects(clips, rest, validation_fraction, rng)
        drawn.append(Fold(name, np.setdiff1d(rest, validation), validation, test))
    return drawn


def datasets_of(clips: Clips) -> np.ndarray:
    """Returns the name of the data set of each clip, str [N], without configuration."""
    return np.array([name.partition("/")[0] for name in clips.datasets])


def _by_dataset(
    protocol: Protocol, clips: Clips, tested: Sequence[str]
) -> tuple[list[str], list[np.ndarray]]:
    """Returns the names and the test parts of folds that test complete data sets.

    Raises:
      UserError: if there is only one data set, a tested one has no clips, or a person
        is in several parts.
    """
    datasets = datasets_of(clips)
    names = list(dict.fromkeys(datasets.tolist()))
    if len(names) < 2:
        raise UserError(
            f"--protocol={protocol} needs several data sets; these clips are of "
            f"{names[0]}. Name several with --dataset=NAME,NAME, or choose "
            "--protocol=loso."
        )
    groups = [[name] for name in names] if protocol == "lodo" else [list(tested)]
    tests = []
    for group in groups:
        chosen = np.isin(datasets, group)
        if empty := [name for name in group if name not in names]:
            raise UserError(
                f"--protocol={protocol}: {empty[0]} has no clip of the classes to "
                "test. Choose other data sets or --classes."
            )
        if chosen.all():
            raise UserError(
                f"--protocol={protocol}: no other data set than {', '.join(group)} has "
                "a clip of the classes to train on. Choose other data sets or "
                "--classes."
            )
        subjects = np.array(clips.subjects)
        if both := sorted(set(subjects[chosen]) & set(subjects[~chosen])):
            others = datasets[~chosen & np.isin(subjects, both)]
            raise UserError(
                f"--protocol={protocol}: {len(both)} of the people of "
                f"{', '.join(group)} are in {', '.join(sorted(set(others)))}, too, "
                f"such as {both[0]}, and would be in training and test. Use only one "
                "of these data sets, test them together with --protocol=cross_dataset, "
                "or choose --protocol=loso or kfold, which keep each person together."
            )
        tests.append(np.flatnonzero(chosen))
    return ["+".join(group) for group in groups], tests


def limit(
    fold: Fold,
    clips: Clips,
    subjects: int | None,
    clips_per_subject: int | None,
    seed: int,
) -> Fold:
    """Reduces the training part of a fold; the other parts remain as they are.

    The subjects of a smaller number are among those of a larger, and so are the clips.

    Args:
      fold: the fold.
      clips: all clips.
      subjects: number of subjects to keep; None for all.
      clips_per_subject: maximum number of clips of each to keep; None for all.
      seed: of the random choice.

    Raises:
      UserError: if the training part has fewer subjects.
    """
    rng = np.random.default_rng((seed, _LIMIT))
    owners = np.array(clips.subjects)[fold.train]
    order = rng.permutation(np.unique(owners))
    if subjects is not None and subjects > len(order):
        raise UserError(
            f"--train_subjects={subjects}: the training part of fold {fold.name} has "
            f"{len(order)} subjects. Choose at most that many."
        )
    kept = []
    for subject in order[:subjects]:
        own = rng.permutation(fold.train[owners == subject])
        kept.append(own[:clips_per_subject])
    return dataclasses.replace(fold, train=np.sort(np.concatenate(kept)))


def holdout(
    clips: Clips, *, test_fraction: float, validation_fraction: float, seed: int
) -> Fold:
    """Draws the paper's hold-out split (section 4.3), stratified by class.

    The split is not subject-disjoint: clips of one subject may be in several parts. Its
    accuracy overestimates that on new subjects if the model learns identities.

    Args:
      clips: the clips to divide.
      test_fraction: the fraction of each class in the test part.
      validation_fraction: the fraction of the other clips of each class in the
        validation part.
      seed: the random seed.

    Raises:
      UserError: if a class has fewer than three clips.
    """
    rng = np.random.default_rng(seed)
    parts = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(clips.classes):
        members = rng.permutation(np.flatnonzero(clips.labels == label))
        if len(members) < 3:
            raise UserError(
                f"Class {name} has {len(members)} clips; training, validation and test "
                "need at least one each. Leave the class out with --classes."
            )
        test = min(max(round(len(members) * test_fraction), 1), len(members) - 2)
        rest = len(members) - test
        validation = min(max(round(rest * validation_fraction), 1), rest - 1)
        parts["test"].append(members[:test])
        parts["validation"].append(members[test : test + validation])
        parts["train"].append(members[test + validation :])
    parts = {name: np.sort(np.concatenate(part)) for name, part in parts.items()}
    return Fold("holdout", **parts)


def _sample_subjects(
    clips: Clips,
    indices: np.ndarray,
    fraction: float,
    rng: np.random.Generator,
    min_rest: int = 1,
) -> np.ndarray:
    """Samples subjects with about ``fraction`` of the clips of each class.

    Args:
      clips: all clips.
      indices: int [N], the clips to sample from.
      fraction: the target fraction of each class.
      rng: the source of random orders of subjects.
      min_rest: the minimum number of subjects that are left over.

    Returns:
      int [M], all clips among ``indices`` of the sampled subjects. At least one subject
      is sampled, and if possible every class keeps a subject that is not.
    """
    subjects, counts = _count_clips(clips, indices)
    target = fraction * counts.sum(0)
    best = None
    for _ in range(_NUM_ORDERS):
        order = rng.permutation(len(subjects))
        chosen: list[int] = []
        current = np.zeros_like(target)
        for index in order:
            if len(chosen) == len(subjects) - min_rest:
                break
            closer = _distance(current + counts[index], target) < _distance(
                current, target
            )
            if closer and (counts.sum(0) - current - counts[index] > 0).all():
                chosen.append(index)
                current = current + counts[index]
        if not chosen:  # the subject whose removal leaves the fewest classes empty
            emptied = [((counts.sum(0) - counts[i]) == 0).sum() for i in order]
            chosen = [order[int(np.argmin(emptied))]]
            current = counts[chosen[0]]
        if best is None or _distance(current, target) < best[0]:
            best = _distance(current, target), chosen
    names = [subjects[index] for index in best[1]]
    return indices[np.isin(np.array(clips.subjects)[indices], names)]


def _partition_subjects(
    clips: Clips, folds: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Divides all clips into parts with disjoint subjects and similar class counts.

    Returns:
      For each fold the indices of its clips, int [N].
    """
    subjects, counts = _count_clips(clips, np.arange(len(clips)))
    target = counts.sum(0) / folds
    best = None
    for _ in range(_NUM_ORDERS):
        # Subjects with the most clips first, since later ones can compensate for them;
        # equal ones in random order. An empty part gains most, so no part stays empty.
        order = rng.permutation(len(subjects))
        order = order[np.argsort(-counts[order].sum(-1), kind="stable")]
        owner = np.zeros(len(subjects), int)
        current = np.zeros((folds, counts.shape[1]))
        for index in order:
            gain = _distance(current, target) - _distance(
                current + counts[index], target
            )
            owner[index] = gain.argmax()
            current[owner[index]] += counts[index]
        if best is None or _distance(current, target).sum() < best[0]:
            best = _distance(current, target).sum(), owner
    owner_of = dict(zip(subjects, best[1], strict=True))
    part = np.array([owner_of[subject] for subject in clips.subjects])
    return [np.flatnonzero(part == number) for number in range(folds)]


def _count_clips(clips: Clips, indices: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Counts the clips of each subject by class.

    Returns:
      The sorted subjects, and int [S, C + 1]: the number of clips of each class and, in
      the last column, of all classes, so that parts also have similar sizes. Classes
      without clips have no column.
    """
    subject_of_clip = np.array(clips.subjects)[indices]
    subjects = sorted(set(subject_of_clip))
    counts = np.zeros((len(subjects), len(clips.classes) + 1), int)
    for row, subject in enumerate(subjects):
        labels = clips.labels[indices[subject_of_clip == subject]]
        counts[row, :-1] = np.bincount(labels, minlength=len(clips.classes))
        counts[row, -1] = len(labels)
    return subjects, counts[:, counts.sum(0) > 0]


def _distance(counts: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The sum of squared relative deviations from a target; [..., C], [C] -> [...]."""
    return (((counts - target) / target) ** 2).sum(-1)
