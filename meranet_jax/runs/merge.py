"""Merges the shards of a run, or runs of several seeds, into one run."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from meranet_jax import files, folder_names
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import provenance, reader, report
from meranet_jax.runs.layout import FoldLayout, RunLayout
from meranet_jax.runs.reader import Run

# Settings that may differ between runs that are merged.
_MAY_DIFFER = (*reader.NOT_RESULT_SETTINGS, "fold_shard", "seed", "seeds")


def merged_path(parts: Sequence[Run], name: str | None) -> Path:
    """Returns the folder of the merged run, which is next to the first of its parts.

    Args:
      parts: the runs to merge.
      name: the name of the merged run; by default the name that all parts have.

    Raises:
      UserError: if the parts have different names and ``name`` is None, or ``name`` is
        not a folder name.
    """
    if name is None:
        if len({part.config.run_name for part in parts}) > 1:
            raise UserError(
                "The runs have different names. Name the merged run with --name."
            )
        name = parts[0].config.run_name
    folder_names.check_name(name)
    return parts[0].path.parent / name


def merge(parts: Sequence[Run], path: Path) -> dict:
    """Merges runs into a new run and writes its report.

    Args:
      parts: shards of one run (``--fold_shard``), or runs with the same settings and
        different seeds. They are not changed.
      path: the new run folder.

    Returns:
      The report.

    Raises:
      UserError: if the parts have different settings or clips, a fold is missing, two
        parts have different predictions for a fold, or ``path`` exists.
    """
    if path.exists():
        raise UserError(f"{path} exists already. Choose another --name.")
    for part in parts[1:]:
        _check_mergeable(parts[0], part)
    split = _merge_splits(parts)
    folders: dict[tuple[int, int], FoldLayout] = {}
    by_fold: dict[tuple[int, int], predictions.Predictions] = {}
    for part in parts:
        for key, (fold, predicted) in part.finished().items():
            other = folders.setdefault(key, fold)
            if other != fold and (
                other.predictions.read_bytes() != fold.predictions.read_bytes()
            ):
                raise UserError(
                    f"A fold of seed {key[0]} was trained twice, with different "
                    f"predictions: {other.path}, {fold.path}. Leave out one of the "
                    "runs."
                )
            by_fold.setdefault(key, predicted)
    wanted = [
        (int(seed), number, fold["name"])
        for seed, folds in split["seeds"].items()
        for number, fold in enumerate(folds)
    ]
    missing = [(s, name) for s, number, name in wanted if (s, number) not in folders]
    if missing:
        listed = ", ".join(f"{name} (seed {seed})" for seed, name in missing[:5])
        raise UserError(
            f"{len(missing)} of {len(wanted)} folds are not finished: {listed}"
            f"{' ...' if len(missing) > 5 else ''}. Name the runs that contain them, "
            "or train them: the same train.py command resumes its run."
        )

    pooled = predictions.concatenate(by_fold[seed, n] for seed, n, _ in wanted)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    layout = RunLayout(building)
    try:
        for fold in folders.values():
            shutil.copytree(
                fold.path, layout.folds / fold.path.name, copy_function=_link_or_copy
            )
        seeds = tuple(sorted({seed for seed, _, _ in wanted}))
        config = parts[0].config.flags() | {
            "name": path.name,
            "fold_shard": None,
            "seed": seeds[0] if len(seeds) == 1 else 0,
            "seeds": ",".join(map(str, seeds)) if len(seeds) > 1 else None,
        }
        files.write_json(
            layout.config,
            {
                "config": config,
                "records": [str(folder) for folder in parts[0].records],
                "data": _merge_data(parts),
                "starts": [start for part in parts for start in part.starts],
            }
            | ({} if parts[0].origin is None else {"origin": parts[0].origin}),
        )
        files.write_json(layout.split, split)
        results = report.write(reader.read(building), pooled)
        building.chmod(0o755)  # mkdtemp makes it private
        os.replace(building, path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return results


def _check_mergeable(one: Run, other: Run) -> None:
    """Raises UserError if two runs differ in more than seeds and shards."""
    first, second = (run.config.flags() for run in (one, other))
    differing = [
        f"{name} ({first[name]}; {second.get(name)})"
        for name in first
        if name not in _MAY_DIFFER and first[name] != second.get(name)
    ]
    fingerprints = [run.data["fingerprint"] for run in (one, other)]
    if len({":" in str(fingerprint) for fingerprint in fingerprints}) > 1:
        raise UserError(
            f"Cannot compare the clips of {one.path} and {other.path}: an older "
            "version saved the fingerprint of one of them. Start the train.py commands "
            "of both runs again, which renews it and trains no finished fold."
        )
    if fingerprints[0] != fingerprints[1]:
        differing.append("the clips")
    digests = [run.origin and run.origin["digest"] for run in (one, other)]
    if digests[0] != digests[1]:
        differing.append("the weights that they started from")
    flows = [run.data.get("flow") for run in (one, other)]
    if changes := provenance.flow_differences(*flows):
        differing.append(f"the optical flow ({'; '.join(changes)})")
    if one.classes != other.classes:
        differing.append("the classes")
    if differing:
        raise UserError(
            f"Cannot merge {one.path} and {other.path}: they differ in "
            f"{', '.join(differing)}."
        )


def _merge_splits(parts: Sequence[Run]) -> dict:
    """Returns the folds of all seeds.

    Raises:
      UserError: if two parts have different folds for a seed.
    """
    merged: dict[str, list] = {}
    for part in parts:
        for seed, folds in part.split["seeds"].items():
            if merged.setdefault(seed, folds) != folds:
                raise UserError(
                    f"The folds of seed {seed} in {part.path} differ from those in "
                    "another of the runs."
                )
    seeds = dict(sorted(merged.items(), key=lambda item: int(item[0])))
    return {"protocol": parts[0].config.protocol, "seeds": seeds}


def _merge_data(parts: Sequence[Run]) -> dict:
    notes = [text for part in parts for text in part.data["lacking"]]
    return parts[0].data | {"lacking": list(dict.fromkeys(notes))}


def _link_or_copy(source: str, target: str) -> None:
    """Makes a hard link where the file system allows it, since weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
