"""The weights of one fold of a run."""

from pathlib import Path

from meranet_jax.convert import networks
from meranet_jax.errors import UserError
from meranet_jax.recognisers import Network
from meranet_jax.runs import fold_metadata, reader, subjects
from meranet_jax.runs.reader import Run
from meranet_jax.training import checkpoint
from meranet_jax.weights_file import Metadata, Weights


def read(
    path: Path, seed: int | None = None, fold: str | None = None
) -> tuple[Weights, Metadata]:
    """Reads the weights that a fold of a run was tested with.

    Args:
      path: the run folder.
      seed: seed of the fold; needed if the run has several.
      fold: name of the fold; needed if the run has several.

    Returns:
      The weights and their metadata.

    Raises:
      UserError: if the run has no such fold, the fold is not finished, or the run's
        recogniser is not a network.
    """
    run = reader.read(path)
    if not isinstance(run.config.recogniser, Network):
        raise UserError(
            f"{path} is a run of {run.config.title}, which is not a network."
        )
    seed, number, name = _choose_fold(run, seed, fold)
    finished = run.finished()
    if (seed, number) not in finished:
        raise UserError(
            f"The fold {name} of seed {seed} in {path} is not finished. The same "
            "train.py command resumes the run."
        )
    trained_on = subjects.of_run(run, [(seed, number)])
    metadata = fold_metadata.of_fold(run, seed, name, trained_on)
    # The settings of the run were read, and with them their modules imported.
    made = networks.make(metadata, path, import_modules=True)
    folder, _ = finished[seed, number]
    return checkpoint.read_weights(folder.weights, made.shapes), metadata


def _choose_fold(run: Run, seed: int | None, fold: str | None) -> tuple[int, int, str]:
    """Returns seed, number and name of the one fold that is meant."""
    chosen = [
        (of_seed, number, name)
        for of_seed, number, name in run.folds
        if seed in (None, of_seed) and fold in (None, name)
    ]
    if len(chosen) == 1:
        return chosen[0]
    listed = ", ".join(
        f"--seed={of_seed} --fold={name}"
        for of_seed, _, name in (chosen or run.folds)[:5]
    )
    found = f"{len(chosen)} folds" if chosen else "no such fold"
    raise UserError(
        f"{run.path} has {found}. Choose one of its {len(run.folds)}, such as: "
        f"{listed}."
    )
