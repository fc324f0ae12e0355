"""``split.json``, and the guard against leaks from one part into another."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meranet_jax.config import Protocol, TrainConfig
from meranet_jax.data import protocols
from meranet_jax.data.loading import Clips
from meranet_jax.data.protocols import Fold
from meranet_jax.errors import UserError

# The folds of each seed.
Split = dict[int, list[Fold]]


@dataclasses.dataclass(frozen=True)
class Job:
    """A fold under a seed: what is trained and tested by itself.

    Attributes:
      number: its place among all of its seed, from 0.
      seed: draws parameters, order and flips.
      fold: its clips.
    """

    number: int
    seed: int
    fold: Fold

    @property
    def name(self) -> str:
        """A name for people."""
        return f"seed {self.seed}, fold {self.fold.name}"


def jobs(split: Split) -> list[Job]:
    """All that is to be trained, seed by seed."""
    return [
        Job(number, seed, fold)
        for seed, folds in split.items()
        for number, fold in enumerate(folds)
    ]


def make(config: TrainConfig, clips: Clips) -> Split:
    """The split that is asked for: drawn from each seed, or read from ``--split``.

    Raises:
      UserError: if it cannot be made, or would leak.
    """
    if config.split is None:
        split = {
            seed: protocols.draw(
                config.protocol,
                clips,
                folds=config.folds,
                test_fraction=config.test_fraction,
                validation_fraction=config.validation_fraction,
                seed=seed,
            )
            for seed in config.all_seeds
        }
    else:
        split = _given(config, clips)
    check(split, clips, config.protocol)
    return split


def _given(config: TrainConfig, clips: Clips) -> Split:
    path = Path(config.split).expanduser()
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise UserError(f"--split={path} cannot be read: {error}.") from error
    protocol, found = from_json(text, clips, f"--split={path}")
    if protocol != config.protocol:
        raise UserError(
            f"--split={path} is a split of --protocol={protocol}, not of "
            f"{config.protocol}; say --protocol={protocol}."
        )
    if len(found) == 1:  # serves every seed
        (folds,) = found.values()
        return dict.fromkeys(config.all_seeds, folds)
    if missing := [seed for seed in config.all_seeds if seed not in found]:
        raise UserError(
            f"--split={path} has no split of seed {missing[0]}, but of "
            f"{', '.join(map(str, found))}; choose of these with --seeds."
        )
    return {seed: found[seed] for seed in config.all_seeds}


def to_json(split: Split, clips: Clips, protocol: Protocol) -> str:
    """A split by clip id."""
    seeds = {
        str(seed): [
            {"name": fold.name}
            | {p: [clips.clip_ids[i] for i in part] for p, part in fold.parts.items()}
            for fold in folds
        ]
        for seed, folds in split.items()
    }
    return json.dumps({"protocol": protocol, "seeds": seeds}, indent=1) + "\n"


def from_json(text: str, clips: Clips, where: str) -> tuple[Protocol, Split]:
    """What ``to_json`` wrote, on the same clips.

    Raises:
      UserError: if it is not that, or names a clip that is not there; ``where`` names
        it.
    """
    index_of = {clip_id: index for index, clip_id in enumerate(clips.clip_ids)}
    missing = []

    def indices(ids):
        missing.extend(clip_id for clip_id in ids if clip_id not in index_of)
        return np.array([index_of.get(i, 0) for i in ids], int)

    try:
        read = json.loads(text)
        split = {
            int(seed): [
                Fold(
                    str(fold["name"]),
                    *(indices(fold[p]) for p in ("train", "validation", "test")),
                )
                for fold in folds
            ]
            for seed, folds in read["seeds"].items()
        }
        if not split or not all(split.values()):
            raise ValueError("it has no fold")
        if not all(len(p) for job in jobs(split) for p in job.fold.parts.values()):
            raise ValueError("a part is empty")
        for folds in split.values():
            if len({fold.name for fold in folds}) < len(folds):
                raise ValueError("two folds have one name")
        protocol = str(read["protocol"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{where} is not a split as split.json of a run is "
            f"({type(error).__name__}: {error})."
        ) from error
    if missing:
        raise UserError(
            f"{where} names {len(set(missing))} clips that these records or classes do "
            f"not have, {missing[0]} first. Is it of another data set, or another "
            "--classes?"
        )
    return protocol, split


def check(split: Split, clips: Clips, protocol: Protocol) -> None:
    """The leak guard, and whether the split is one of its protocol.

    Raises:
      UserError: if a clip, a duplicate of one or, where parts are of whole subjects, a
        subject stands in two parts of a fold; a clip is tested twice under a seed; or
        the folds are not those that the protocol's name promises.
    """
    pairs = duplicates(clips)
    for job in jobs(split):
        _check_fold(job, clips, pairs, protocol)
    for seed, folds in split.items():
        times = collections.Counter(i for fold in folds for i in fold.test.tolist())
        clip, most = times.most_common(1)[0]
        if most > 1:
            raise UserError(
                f"Under seed {seed} {clips.clip_ids[clip]} stands in the test parts of "
                f"{most} folds; a clip counts once."
            )
        _check_whole(seed, folds, clips, protocol)


def _check_whole(
    seed: int, folds: Sequence[Fold], clips: Clips, protocol: Protocol
) -> None:
    """Raises UserError unless the folds are what the protocol's name promises."""
    if protocol in ("holdout", "holdout_subject"):
        if len(folds) > 1:
            raise UserError(
                f"--protocol={protocol} has one fold; the split has {len(folds)} under "
                f"seed {seed}."
            )
        return
    tested = {index for fold in folds for index in fold.test.tolist()}
    if missing := sorted(set(range(len(clips))) - tested):
        raise UserError(
            f"--protocol={protocol} tests every clip once; under seed {seed} "
            f"{len(missing)} are never tested, {clips.clip_ids[missing[0]]} first."
        )
    for fold in folds if protocol == "loso" else ():
        subjects = sorted({clips.subjects[index] for index in fold.test})
        if len(subjects) > 1:
            raise UserError(
                f"--protocol=loso tests one subject a fold; fold {fold.name} of seed "
                f"{seed} has {', '.join(subjects)}."
            )


def _check_fold(job: Job, clips: Clips, pairs, protocol: Protocol) -> None:
    part_of: dict[int, str] = {}
    for part, indices in job.fold.parts.items():
        for index in indices.tolist():
            if index in part_of:
                raise UserError(
                    f"Leak ({job.name}): the clip {clips.clip_ids[index]} stands in "
                    f"{part_of[index]} and in {part}."
                )
            part_of[index] = part
    if protocols.is_subject_disjoint(protocol):
        first: dict[str, int] = {}
        for index, part in part_of.items():
            other = first.setdefault(clips.subjects[index], index)
            if part_of[other] != part:
                raise UserError(
                    f"Leak ({job.name}): the subject {clips.subjects[index]} stands in "
                    f"{part_of[other]} ({clips.clip_ids[other]}) and in {part} "
                    f"({clips.clip_ids[index]}); --protocol={protocol} keeps subjects "
                    "apart."
                )
    for one, other, same, of in pairs:
        there = part_of.get(one), part_of.get(other)
        if None not in there and there[0] != there[1]:
            raise UserError(
                f"Leak ({job.name}): {clips.clip_ids[one]} in {there[0]} and "
                f"{clips.clip_ids[other]} in {there[1]} are the same frames ({same} of "
                f"{of}). Leave one out with --leave_out={clips.clip_ids[other]}, or "
                "give a --split that keeps them together."
            )


def duplicates(clips: Clips) -> list[tuple[int, int, int, int]]:
    """Pairs of clips that are largely the same frames.

    At least half of the distinct frames of one must be in the other, pixel by pixel.
    Neighbouring expressions of one recording may share fewer.

    Returns:
      Two indices, how many distinct frames are shared, and of how many.
    """
    frames = [digest.frames for digest in clips.digests]
    having = collections.defaultdict(list)
    for index, digests in enumerate(frames):
        for digest in digests:
            having[digest].append(index)
    shared = collections.Counter(
        pair for where in having.values() for pair in itertools.combinations(where, 2)
    )
    pairs = []
    for (one, other), same in sorted(shared.items()):
        of = min(len(frames[one]), len(frames[other]))
        if 2 * same >= of:
            pairs.append((one, other, same, of))
    return pairs


def lacking(fold: Fold, clips: Clips) -> list[str]:
    """The classes of which the training part has no clip."""
    there = set(clips.labels[fold.train].tolist())
    return [name for label, name in enumerate(clips.classes) if label not in there]
