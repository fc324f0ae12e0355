"""Complete runs, as train.py makes them, on the clips of tests."""

import dataclasses
from pathlib import Path

import jax

from meranet_jax.data import splits
from meranet_jax.inputs import registry
from meranet_jax.recognisers import Descriptor
from meranet_jax.runs import fold_loop, reader, report, writer
from meranet_jax.training import fitters


def plan(config, clips):
    """Returns the folds of this shard, and the number of folds of the run."""
    jobs = splits.jobs(splits.make(config, clips))
    return fold_loop.folds_of_shard(jobs, config.shard), len(jobs)


class Watching(fold_loop.Watcher):
    """A watcher whose methods are given functions."""

    def __init__(self, **functions):
        vars(self).update(functions)


def run(config, clips, *, watch=None, trainer=None, **options):
    """Trains the missing folds, writes the report, and returns the folder of the run.

    Args:
      config: the run's.
      clips: all clips.
      watch: functions for the methods of a watcher, by name.
      trainer: used instead of a new one; then no report is written.
      **options: of the fitter.
    """
    of_shard, folds = plan(config, clips)
    path = reader.path_of(config)
    split = splits.make(config, clips)
    if isinstance(config.recogniser, Descriptor):
        fitter = fitters.DescriptorFitter(config, clips)
    else:
        fitter = fitters.NetworkFitter(
            config, clips, folds=folds, trainer=trainer, **options
        )
    with writer.RunFolder(path, config, clips, split, [Path("/records")]) as folder:
        folder.log_start(fitter.devices)
        missing = [job for job in of_shard if not folder.is_finished(job, clips)]
        fold_loop.run(folder, fitter, clips, missing, Watching(**(watch or {})))
    if trainer is not None:
        return path
    # Compiled programs stay mapped into memory, each in hundreds of regions. A process
    # is aborted if it has more than 65530.
    jax.clear_caches()
    if len(of_shard) == folds:
        read = reader.read(path)
        report.write(read, report.read_predictions(read))
    return path


def count_traces(monkeypatch):
    """Returns a list to which each tracing of a program adds the shape of the clips."""
    traced, rgb = [], registry.INPUTS["rgb"]

    def prepare(clips):
        traced.append(clips.shape)
        return rgb.prepare(clips)

    counted = dataclasses.replace(rgb, prepare=prepare)
    monkeypatch.setitem(registry.INPUTS, "rgb", counted)
    return traced
