"""Complete runs, as train.py does them, on the clips of the tests."""

import dataclasses
from pathlib import Path
from unittest import mock

import jax

from meranet_jax.data import splits
from meranet_jax.evaluation import figures
from meranet_jax.inputs import registry
from meranet_jax.recognisers import Descriptor
from meranet_jax.runs import fold_loop, layout, origins, reader, report, writer
from meranet_jax.training import fitters, trainers


def plan(config, clips):
    """Returns the folds of a run's shard, and the number of all folds."""
    jobs = splits.jobs(splits.make(config, clips))
    return fold_loop.folds_of_shard(jobs, config.shard), len(jobs)


class Observer(fold_loop.RunObserver):
    """Replaces methods by functions with their names."""

    def __init__(self, **functions):
        vars(self).update(functions)


# Settings that compiled programs do not depend on.
_NOT_COMPILED = {
    *(
        "name",
        "runs_dir",
        "data_dir",
        "overwrite",
        "seed",
        "seeds",
        "split",
        "protocol",
    ),
    *(
        "folds",
        "test_fraction",
        "validation_fraction",
        "fold_shard",
        "epochs",
        "select",
    ),
    "checkpoint_every",
}

# The trainer of the last run, with what it was made from.
_last: list = []


def trainer_of(config, clips, folds):
    """Returns the trainer that was used last, if it fits, or a new one.

    Args:
      config: the settings of the run.
      clips: all clips.
      folds: number of folds of the run.
    """
    flags = {n: v for n, v in config.flags().items() if n not in _NOT_COMPILED}
    # Tests replace inputs and functions.
    made_from = flags, folds, registry.find(config.input), trainers.make_trainer
    if _last and _last[0] is clips and _last[1] == made_from:
        return _last[2]
    forget_trainer()
    trainer = trainers.make_trainer(config, clips, folds=folds)
    _last[:] = clips, made_from, trainer
    return trainer


def forget_trainer():
    """Frees the compiled programs of the last run."""
    _last.clear()
    # Compiled programs use hundreds of memory maps each, of which a process may have
    # 65530; it is aborted at the next.
    jax.clear_caches()


def touch_figure(figure, path):
    """Replaces ``figures.save``, which takes a third of the time of small runs."""
    for suffix in (".png", ".svg"):
        path.with_suffix(suffix).touch()


@mock.patch.object(figures, "save", touch_figure)
def run(config, clips, *, watch=None, trainer=None, **options):
    """Trains the unfinished folds of a run, and writes the report of a complete run.

    Args:
      config: the settings of the run.
      clips: all clips.
      watch: functions for the methods of ``RunObserver``, by name.
      trainer: a compiled trainer for many runs; their reports are not written.
      **options: see ``fitters.NetworkFitter``.

    Returns:
      The run folder.
    """
    of_shard, folds = plan(config, clips)
    path = layout.run_path(config)
    split = splits.make(config, clips)
    initial = origins.load(config)
    if initial is not None:
        initial.check_subjects(clips, splits.jobs(split))
        initial = initial.for_classes(config, clips.classes)
        options["initial"] = initial.weights
    if isinstance(config.recogniser, Descriptor):
        fitter = fitters.DescriptorFitter(config, clips)
    else:
        used = trainer
        if used is None and not options:
            used = trainer_of(config, clips, folds)
        fitter = fitters.NetworkFitter(
            config, clips, folds=folds, trainer=used, **options
        )
    records = [Path("/records")] * len(config.datasets)
    with writer.RunFolder(path, config, clips, split, records, initial) as folder:
        folder.log_start(fitter.devices, fitter.threads)
        missing = [job for job in of_shard if not folder.is_finished(job, clips)]
        fold_loop.run(folder, fitter, clips, missing, Observer(**(watch or {})))
    if trainer is not None:
        return path
    if options:
        forget_trainer()
    if len(of_shard) == folds:
        finished = reader.read(path)
        report.write(finished, report.read_predictions(finished))
    return path


def count_traces(monkeypatch):
    """Returns a list that gets the shape of the clips whenever a program is traced."""
    traced, rgb = [], registry.INPUTS["rgb"]

    def normalise(clips):
        traced.append(clips.shape)
        return rgb.normalise(clips)

    counted = dataclasses.replace(rgb, normalise=normalise)
    monkeypatch.setitem(registry.INPUTS, "rgb", counted)
    return traced
