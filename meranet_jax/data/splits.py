"""Splits into folds: making, saving as ``split.json``, and checking for leaks."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meranet_jax.config import Protocol, TrainConfig
from meranet_jax.data import protocols
from meranet_jax.data.clips import Clips
from meranet_jax.data.protocols import Fold
from meranet_jax.errors import UserError

# The folds by seed.
Split = dict[int, list[Fold]]


@dataclasses.dataclass(frozen=True)
class Job:
    """A fold of a seed, which is trained and tested independently.

    Attributes:
      number: index among the folds of the seed, from 0.
      seed: seed of parameters, order and flips.
      fold: indices of the clips of each part.
    """

    number: int
    seed: int
    fold: Fold

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"seed {self.seed}, fold {self.fold.name}"


def jobs(split: Split) -> list[Job]:
    """Returns the folds of all seeds, ordered by seed."""
    return [
        Job(number, seed, fold)
        for seed, folds in split.items()
        for number, fold in enumerate(folds)
    ]


def check_settings(config: TrainConfig) -> None:
    """Checks the protocol of a run before its data sets are prepared.

    Raises:
      UserError: if the protocol needs several data sets and there is one, or its flags
        do not say which of them are tested.
    """
    _ = config.tested_datasets
    if config.protocol == "lodo" and len(config.datasets) < 2:
        raise UserError(
            f"--protocol=lodo tests each data set once and trains on the others; "
            f"--dataset={config.dataset} is one. Name several, --dataset=NAME,NAME, or "
            "choose --protocol=loso."
        )


def make(config: TrainConfig, clips: Clips) -> Split:
    """Makes the split of a run: drawn for each seed, or read from ``--split``.

    ``--train_subjects`` and ``--train_clips`` then reduce the training parts.

    Args:
      config: the run's.
      clips: all clips.

    Raises:
      UserError: if it cannot be made or has a leak (see ``check``).
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
                tested_datasets=config.tested_datasets,
            )
            for seed in config.all_seeds
        }
    else:
        split = _read_split(config, clips)
    check(split, clips, config.protocol)
    if config.split is not None and config.protocol == "cross_dataset":
        _check_tested(split, clips, config)
    if (config.train_subjects, config.train_clips) != (None, None):
        split = {
            seed: [
                protocols.limit(
                    fold, clips, config.train_subjects, config.train_clips, seed
                )
                for fold in folds
            ]
            for seed, folds in split.items()
        }
    return split


def _read_split(config: TrainConfig, clips: Clips) -> Split:
    path = Path(config.split).expanduser()
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read --split={path}: {error}.") from error
    protocol, split = from_json(text, clips, f"--split={path}")
    if protocol != config.protocol:
        raise UserError(
            f"--split={path} is a split of --protocol={protocol}, not of "
            f"{config.protocol}. Set --protocol={protocol}."
        )
    if len(split) == 1:  # used for every seed
        (folds,) = split.values()
        return dict.fromkeys(config.all_seeds, folds)
    if missing := [seed for seed in config.all_seeds if seed not in split]:
        raise UserError(
            f"--split={path} has no split for seed {missing[0]}. It has "
            f"{', '.join(map(str, split))}; choose from these with --seeds."
        )
    return {seed: split[seed] for seed in config.all_seeds}


def to_json(split: Split, clips: Clips, protocol: Protocol) -> str:
    """Returns a split as JSON, with clips by their ids.

    Args:
      split: indices into ``clips``.
      clips: all clips.
      protocol: of the split.
    """
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
    """Reads a split that ``to_json`` wrote.

    Args:
      text: the JSON text.
      clips: all clips.
      where: describes the source of the text in messages.

    Returns:
      The protocol and the split.

    Raises:
      UserError: if the text is malformed or names a clip that does not exist.
    """
    index_of = {clip_id: index for index, clip_id in enumerate(clips.clip_ids)}
    missing = []

    def indices(ids):
        missing.extend(clip_id for clip_id in ids if clip_id not in index_of)
        return np.array([index_of.get(i, 0) for i in ids], int)

    try:
        loaded = json.loads(text)
        split = {
            int(seed): [
                Fold(
                    str(fold["name"]),
                    *(indices(fold[p]) for p in ("train", "validation", "test")),
                )
                for fold in folds
            ]
            for seed, folds in loaded["seeds"].items()
        }
        if not split or not all(split.values()):
            raise ValueError("it has no fold")
        if not all(len(p) for job in jobs(split) for p in job.fold.parts.values()):
            raise ValueError("a part is empty")
        for folds in split.values():
            if len({fold.name for fold in folds}) < len(folds):
                raise ValueError("two folds have the same name")
        protocol = str(loaded["protocol"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{where} is not a split in the format of a run's split.json "
            f"({type(error).__name__}: {error})."
        ) from error
    if missing:
        raise UserError(
            f"{where} names {len(set(missing))} clips that are not in this run, "
            f"for example {missing[0]}. Check that it belongs to the same data set and "
            "--classes."
        )
    return protocol, split


def check(split: Split, clips: Clips, protocol: Protocol) -> None:
    """Checks a split for leaks and for agreement with its protocol.

    Args:
      split: indices into ``clips``.
      clips: all clips.
      protocol: of the split.

    Raises:
      UserError: if a clip or its duplicates are in two parts of a fold; a subject is
        in two parts of a fold of a subject-disjoint protocol; a clip is tested twice
        for a seed; or the folds do not follow the protocol.
    """
    pairs = find_duplicates(clips)
    for job in jobs(split):
        _check_fold(job, clips, pairs, protocol)
    for seed, folds in split.items():
        tests = collections.Counter(i for fold in folds for i in fold.test.tolist())
        clip, count = tests.most_common(1)[0]
        if count > 1:
            raise UserError(
                f"The clip {clips.clip_ids[clip]} is in the test parts of {count} "
                f"folds of seed {seed}. Each clip can be tested once for a seed."
            )
        _check_protocol(seed, folds, clips, protocol)


def _check_tested(split: Split, clips: Clips, config: TrainConfig) -> None:
    """Raises UserError unless a split tests the data sets that the flags name."""
    datasets = protocols.datasets_of(clips)
    for job in jobs(split):
        tested = set(datasets[job.fold.test].tolist())
        if tested != set(config.tested_datasets):
            raise UserError(
                f"--split={config.split} tests {', '.join(sorted(tested))}, not "
                f"{', '.join(config.tested_datasets)}. Set "
                f"--test_datasets={','.join(sorted(tested))} alone."
            )


def _check_protocol(
    seed: int, folds: Sequence[Fold], clips: Clips, protocol: Protocol
) -> None:
    """Raises UserError unless the folds of a seed follow the protocol."""
    datasets = protocols.datasets_of(clips)
    for fold in folds if protocol in ("lodo", "cross_dataset") else ():
        fitted = np.concatenate([fold.train, fold.validation])
        if both := sorted({*datasets[fold.test]} & {*datasets[fitted]}):
            raise UserError(
                f"--protocol={protocol} trains on no clip of a tested data set, but "
                f"fold {fold.name} of seed {seed} has clips of {both[0]} in its "
                "test part and in its training or validation part."
            )
        tested = sorted({*datasets[fold.test]})
        complete = np.flatnonzero(np.isin(datasets, tested))
        if missing := sorted({*complete.tolist()} - {*fold.test.tolist()}):
            raise UserError(
                f"--protocol={protocol} tests all clips of each tested data set, but "
                f"fold {fold.name} of seed {seed} tests {len(fold.test)} of the "
                f"{len(complete)} clips of {', '.join(tested)}, and not, for example, "
                f"{clips.clip_ids[missing[0]]}. Leave clips out of the run with "
                "--leave_out."
            )
    if protocol in ("holdout", "holdout_subject", "cross_dataset"):
        if len(folds) > 1:
            raise UserError(
                f"--protocol={protocol} has one fold, but the split has {len(folds)} "
                f"for seed {seed}."
            )
        return
    tested = {index for fold in folds for index in fold.test.tolist()}
    if missing := sorted(set(range(len(clips))) - tested):
        raise UserError(
            f"--protocol={protocol} tests every clip once, but {len(missing)} clips "
            f"are not tested for seed {seed}, for example {clips.clip_ids[missing[0]]}."
        )
    for fold in folds if protocol == "loso" else ():
        subjects = sorted({clips.subjects[index] for index in fold.test})
        if len(subjects) > 1:
            raise UserError(
                f"--protocol=loso tests one subject in each fold, but fold {fold.name} "
                f"of seed {seed} tests {', '.join(subjects)}."
            )
    for fold in folds if protocol == "lodo" else ():
        tested_datasets = sorted({*datasets[fold.test].tolist()})
        if len(tested_datasets) > 1:
            raise UserError(
                f"--protocol=lodo tests one data set in each fold, but fold "
                f"{fold.name} of seed {seed} tests {', '.join(tested_datasets)}."
            )


def _check_fold(job: Job, clips: Clips, pairs, protocol: Protocol) -> None:
    part_of: dict[int, str] = {}
    for part, indices in job.fold.parts.items():
        for index in indices.tolist():
            if index in part_of:
                raise UserError(
                    f"Leak ({job.name}): the clip {clips.clip_ids[index]} is in "
                    f"{part_of[index]} and in {part}."
                )
            part_of[index] = part
    if protocols.is_subject_disjoint(protocol):
        first: dict[str, int] = {}
        for index, part in part_of.items():
            other = first.setdefault(clips.subjects[index], index)
            if part_of[other] != part:
                raise UserError(
                    f"Leak ({job.name}): the subject {clips.subjects[index]} is in "
                    f"{part_of[other]} ({clips.clip_ids[other]}) and in {part} "
                    f"({clips.clip_ids[index]}). With --protocol={protocol} the parts "
                    "must have different subjects."
                )
    for one, other, shared, total in pairs:
        parts = part_of.get(one), part_of.get(other)
        if None not in parts and parts[0] != parts[1]:
            raise UserError(
                f"Leak ({job.name}): {clips.clip_ids[one]} in {parts[0]} and "
                f"{clips.clip_ids[other]} in {parts[1]} are duplicates (they share "
                f"{shared} of {total} frames). Leave one out with "
                f"--leave_out={clips.clip_ids[other]}, or give a --split that keeps "
                "them together."
            )


def find_duplicates(clips: Clips) -> list[tuple[int, int, int, int]]:
    """Finds pairs of clips that share at least half of their frames, pixel by pixel.

    Only distinct frames count, and half of the clip with fewer of them suffices.
    Neighbouring expressions of one recording may share fewer.

    Args:
      clips: all clips.

    Returns:
      For each pair the two indices, the number of shared frames, and the number of
      distinct frames of the clip with fewer.
    """
    frames = [digest.frames for digest in clips.digests]
    owners = collections.defaultdict(list)
    for index, digests in enumerate(frames):
        for digest in digests:
            owners[digest].append(index)
    counts = collections.Counter(
        pair for clip in owners.values() for pair in itertools.combinations(clip, 2)
    )
    pairs = []
    for (one, other), shared in sorted(counts.items()):
        total = min(len(frames[one]), len(frames[other]))
        if 2 * shared >= total:
            pairs.append((one, other, shared, total))
    return pairs


def missing_classes(fold: Fold, clips: Clips) -> list[str]:
    """Returns the classes without a clip in the training part of a fold."""
    present = set(clips.labels[fold.train].tolist())
    return [name for label, name in enumerate(clips.classes) if label not in present]
