"""Metadata of the weights of a fold of a run."""

from meranet_jax.models.settings import architecture
from meranet_jax.runs import subjects
from meranet_jax.runs.reader import Run
from meranet_jax.runs.subjects import Subjects
from meranet_jax.weights_file import Metadata


def of_fold(
    run: Run, seed: int, name: str, trained_on: Subjects | None = None
) -> Metadata:
    """Returns the metadata of the weights of a fold.

    Args:
      run: a run of a network.
      seed: seed of the fold.
      name: name of the fold.
      trained_on: the subjects that the weights were trained on; see
        ``subjects.of_run``. Without them the metadata name the data sets of the run,
        and the subjects are unknown.
    """
    config = run.config
    datasets, names = config.datasets, None
    if trained_on is not None:
        datasets, names = subjects.to_metadata(trained_on, config.datasets)
    return Metadata(
        model=config.model,
        settings=architecture(config.settings),
        input=config.input,
        frames=config.frames,
        size=config.size,
        classes=tuple(run.classes),
        origin=f"Trained on {config.dataset} by the run {run.path.resolve().name}, "
        f"seed {seed}, fold {name} of --protocol={config.protocol}.",
        datasets=datasets,
        subjects=names,
        flow_method=config.used_flow_method,
    )
