"""The subjects that the weights of a run were trained on."""

import json
from collections.abc import Iterable

import numpy as np

from meranet_jax import recipes
from meranet_jax.data import source_records
from meranet_jax.data.clips import Clips
from meranet_jax.data.protocols import Fold
from meranet_jax.errors import UserError
from meranet_jax.runs.layout import FoldLayout
from meranet_jax.runs.reader import Run
from meranet_jax.weights_file import Metadata

# Sorted subjects by the name that stands for the people of their data set: its name
# without its configuration, unless another data set shows the same people
# (``recipes.people``). None if they are unknown.
Subjects = dict[str, list[str] | None]

# The data set of weights of which not even the data set is known.
UNKNOWN = "an unknown data set"


def of_clips(clips: Clips, indices: Iterable[int]) -> Subjects:
    """Returns the subjects of some clips.

    Args:
      clips: all clips.
      indices: of the clips.
    """
    return _group((clips.datasets[i], clips.subjects[i]) for i in indices)


def of_training(fold: Fold, clips: Clips) -> Subjects:
    """Returns the subjects of the training and the validation part of a fold."""
    return of_clips(clips, np.concatenate([fold.train, fold.validation]).tolist())


def merge(several: Iterable[Subjects]) -> Subjects:
    """Returns the subjects that are in any of several groups."""
    merged: Subjects = {}
    for subjects in several:
        for dataset, names in subjects.items():
            before = merged.get(dataset, [])
            known = names is not None and before is not None
            merged[dataset] = sorted({*before, *names}) if known else None
    return dict(sorted(merged.items()))


def shared(first: Subjects, second: Subjects) -> Subjects:
    """Returns the subjects of the first group that can be in the second.

    Args:
      first: known subjects.
      second: others, of which some may be unknown. If not even their data set is known,
        they can be any subjects.
    """
    if UNKNOWN in second:
        return first
    both = {}
    for dataset, names in first.items():
        others = second.get(dataset, [])
        both[dataset] = sorted(set(names) & set(names if others is None else others))
    return {dataset: names for dataset, names in both.items() if names}


def unknown(subjects: Subjects) -> list[str]:
    """Returns the data sets whose subjects are unknown."""
    return [dataset for dataset, names in subjects.items() if names is None]


def describe(subjects: Subjects, limit: int = 3) -> str:
    """Lists subjects for messages, at most ``limit`` of each data set."""
    parts = []
    for dataset, names in subjects.items():
        if names is None:
            parts.append(f"unknown subjects of {dataset}")
            continue
        more = f" and {len(names) - limit} more" if len(names) > limit else ""
        parts.append(f"{', '.join(names[:limit])}{more} of {dataset}")
    return "; ".join(parts)


def of_metadata(metadata: Metadata) -> Subjects:
    """Returns the subjects that the weights of a weights file were trained on."""
    if metadata.datasets is None:
        return {UNKNOWN: None}
    if metadata.subjects is None:
        return dict.fromkeys(sorted(map(recipes.people, metadata.datasets)))
    if len(metadata.datasets) == 1:
        return _group((metadata.datasets[0], name) for name in metadata.subjects)
    return _group((name.partition("/")[0], name) for name in metadata.subjects)


def to_metadata(
    subjects: Subjects, datasets: Iterable[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Returns data sets and subjects as the metadata of a weights file have them.

    Args:
      subjects: those that the weights were trained on.
      datasets: names of data sets with their configuration, where it is known.
    """
    if UNKNOWN in subjects:
        return None, None
    full = {recipes.people(dataset): dataset for dataset in datasets}
    names = tuple(full.get(dataset, dataset) for dataset in subjects)
    prefixed = [
        f"{dataset}/{name}" if len(names) > 1 else name
        for dataset, of_dataset in subjects.items()
        for name in of_dataset or ()
    ]
    return names, None if unknown(subjects) else tuple(prefixed)


def of_run(run: Run, folds: Iterable[tuple[int, int]]) -> Subjects:
    """Returns the subjects that the weights of some folds were trained on.

    Folds of this version have saved them. For folds of an older version they are read
    from the records, and are unknown without them. Those of the weights that the run
    started from are included.

    Args:
      run: a finished run.
      folds: seed and number of each fold.
    """
    found: list[Subjects] = []
    clip_ids: set[str] = set()
    if run.origin is not None:
        found.append(run.origin["trained_on"])
    for seed, number in folds:
        saved = [_read(fold) for fold in run.layout.find_folds(seed, number)]
        if saved and saved[0] is not None:
            found.append(saved[0])
        else:
            parts = run.split["seeds"][str(seed)][number]
            clip_ids |= {*parts["train"], *parts["validation"]}
    if clip_ids:
        try:
            found.append(_from_records(run, clip_ids))
        except UserError:  # they were deleted, or are on another machine
            found.append(dict.fromkeys(map(recipes.people, run.config.datasets)))
    return merge(found)


def _read(fold: FoldLayout) -> Subjects | None:
    """Returns the subjects that a fold has saved; None if it has not."""
    try:
        found = json.loads(fold.summary.read_text())["trained_on"]
        return _group(
            (dataset, str(name)) for dataset in found for name in found[dataset]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_records(run: Run, clip_ids: set[str]) -> Subjects:
    sources, pairs = run.sources(), []
    incomplete: Subjects = {}
    for source in sources:
        name = source.dataset.partition("/")[0]
        prefix = f"{name}/" if len(sources) > 1 else ""
        wanted = {i.removeprefix(prefix) for i in clip_ids if i.startswith(prefix)}
        features = source_records.read_features([source], wanted, ["subject"])
        if len(features) < len(wanted):  # they were prepared again, from another table
            incomplete[recipes.people(source.dataset)] = None
        pairs += [(source.dataset, f["subject"].decode()) for f in features.values()]
    return merge([_group(pairs), incomplete])


def _group(pairs: Iterable[tuple[str, str]]) -> Subjects:
    """Groups subjects by data set.

    Args:
      pairs: data sets, with or without their configuration, and subjects, with or
        without the prefix that they have in composite data sets.
    """
    groups: dict[str, set[str]] = {}
    for dataset, subject in pairs:
        name = recipes.people(dataset)
        groups.setdefault(name, set()).add(subject.removeprefix(f"{name}/"))
    return {name: sorted(groups[name]) for name in sorted(groups)}
