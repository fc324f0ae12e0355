"""Which clips train, which choose the checkpoint, which are the test."""

import dataclasses

import numpy as np

from meranet_jax.data import Clips
from meranet_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Fold:
    """Indices of clips; the three parts share none and leave none out."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


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
    return Fold(**{name: np.sort(np.concatenate(part)) for name, part in parts.items()})


def to_ids(fold: Fold, clips: Clips) -> dict[str, list[str]]:
    """The fold by clip id, as ``split.json`` keeps it."""
    return {
        name: [clips.clip_ids[index] for index in indices]
        for name, indices in vars(fold).items()
    }


def from_ids(split: dict[str, list[str]], clips: Clips) -> Fold:
    """The fold that ``to_ids`` wrote, on the same clips.

    Raises:
      UserError: if the split names a clip that is not there.
    """
    index_of = {clip_id: index for index, clip_id in enumerate(clips.clip_ids)}
    missing = [clip_id for part in split.values() for clip_id in part]
    missing = [clip_id for clip_id in missing if clip_id not in index_of]
    if missing:
        raise UserError(
            f"The split names {len(missing)} clips that the records do not have, "
            f"{missing[0]} first. Are these the records that the run was trained on?"
        )
    return Fold(
        **{name: np.array([index_of[i] for i in ids]) for name, ids in split.items()}
    )
