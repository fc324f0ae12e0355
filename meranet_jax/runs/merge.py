"""Parts of a run, trained apart, as one."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from meranet_jax import files
from meranet_jax.config import check_name
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import reader, report
from meranet_jax.runs.reader import Run

# Settings in which parts of one run may differ.
_APART = (*reader.NOT_RESULT_SETTINGS, "fold_shard", "seed", "seeds")


def path_of(parts: Sequence[Run], name: str | None) -> Path:
    """Where the pooled run goes: beside the first of its parts.

    Raises:
      UserError: if it needs a name, or has one that is none.
    """
    if name is None:
        if len({part.config.run_name for part in parts}) > 1:
            raise UserError("These are runs of several names; give the pooled --name.")
        name = parts[0].config.run_name
    check_name(name)
    return parts[0].path.parent / name


def merge(parts: Sequence[Run], path: Path) -> dict:
    """Pool the folds of runs into a run of its own, and write its report.

    They may be parts of one run (``--fold_shard``), or runs of other seeds.

    Args:
      parts: their folders; nothing in them is changed.
      path: of the folder that is made.

    Returns:
      The report.

    Raises:
      UserError: if they do not belong together, a fold lacks, two of the same fold
        differ, or there is something at ``path``.
    """
    if path.exists():
        raise UserError(f"There is something in {path} already; choose another --name.")
    for part in parts[1:]:
        _check_alike(parts[0], part)
    splits = _merge_splits(parts)
    found, predicted = {}, {}
    for part in parts:
        for key, (folder, tested) in part.finished().items():
            other = found.setdefault(key, folder)
            if other != folder and _bytes(other) != _bytes(folder):
                raise UserError(
                    f"A fold of seed {key[0]} was trained twice, with other "
                    f"predictions: {other}, {folder}. Leave one run out."
                )
            predicted.setdefault(key, tested)
    wanted = [
        (int(seed), number, fold["name"])
        for seed, folds in splits["seeds"].items()
        for number, fold in enumerate(folds)
    ]
    lacking = [(s, name) for s, number, name in wanted if (s, number) not in found]
    if lacking:
        listed = ", ".join(f"{name} (seed {seed})" for seed, name in lacking[:5])
        raise UserError(
            f"{len(lacking)} of {len(wanted)} folds are not finished: {listed}"
            f"{' ...' if len(lacking) > 5 else ''}. Give the runs that have them, or "
            "train them: the same train.py command goes on with what is missing."
        )

    tested = predictions.concatenate(predicted[seed, n] for seed, n, _ in wanted)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for folder in found.values():
            shutil.copytree(
                folder, building / "folds" / folder.name, copy_function=_link
            )
        seeds = tuple(sorted({seed for seed, _, _ in wanted}))
        config = parts[0].config.flags() | {
            "name": path.name,
            "fold_shard": None,
            "seed": seeds[0] if len(seeds) == 1 else 0,
            "seeds": ",".join(map(str, seeds)) if len(seeds) > 1 else None,
        }
        files.write_json(
            building / "config.json",
            {
                "config": config,
                "records": [str(folder) for folder in parts[0].records],
                "data": _merge_facts(parts),
                "starts": [start for part in parts for start in part.starts],
            },
        )
        files.write_json(building / "split.json", splits)
        results = report.write(reader.read(building), tested)
        building.chmod(0o755)  # as if it had not been a temporary one
        os.replace(building, path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return results


def _check_alike(one: Run, other: Run) -> None:
    ours, theirs = (run.config.flags() for run in (one, other))
    differing = [
        f"{name} ({ours[name]}; {theirs[name]})"
        for name in ours
        if name not in _APART and ours[name] != theirs.get(name)
    ]
    prints = [run.facts["fingerprint"] for run in (one, other)]
    if len({":" in str(found) for found in prints}) > 1:
        raise UserError(
            f"The clips of {one.path} and {other.path} cannot be compared: an older "
            "version saved the fingerprint of one of them. Start the train.py commands "
            "of both runs again, which renews it and trains no finished fold."
        )
    if prints[0] != prints[1]:
        differing.append("the clips themselves")
    if one.classes != other.classes:
        differing.append("the classes")
    if differing:
        raise UserError(
            f"{one.path} and {other.path} are not parts of one run; they differ in "
            f"{', '.join(differing)}."
        )


def _merge_splits(parts: Sequence[Run]) -> dict:
    """The folds of all seeds.

    Raises:
      UserError: if two divide the same seed in other ways.
    """
    merged: dict[str, list] = {}
    for part in parts:
        for seed, folds in part.divided["seeds"].items():
            if merged.setdefault(seed, folds) != folds:
                raise UserError(
                    f"{part.path} divides the clips of seed {seed} in another way than "
                    "a run before it."
                )
    seeds = dict(sorted(merged.items(), key=lambda item: int(item[0])))
    return {"protocol": parts[0].config.protocol, "seeds": seeds}


def _merge_facts(parts: Sequence[Run]) -> dict:
    lacking = [text for part in parts for text in part.facts["lacking"]]
    return parts[0].facts | {"lacking": list(dict.fromkeys(lacking))}


def _bytes(folder: Path) -> bytes:
    return (folder / "predictions.csv").read_bytes()


def _link(source: str, target: str) -> None:
    """The same file under another name where the disk can, since weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
