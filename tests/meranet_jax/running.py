"""Whole runs, as train.py does them, on the tests' clips."""

import dataclasses
from pathlib import Path

import jax

from meranet_jax.data import splits
from meranet_jax.inputs import registry
from meranet_jax.recognisers import Descriptor
from meranet_jax.runs import fold_loop, reader, report, writer
from meranet_jax.training import fitters


def plan(config, clips):
    """The folds of a run that are trained here, and how many there are in all."""
    jobs = splits.jobs(splits.make(config, clips))
    return fold_loop.folds_of_shard(jobs, config.shard), len(jobs)


class Watching(fold_loop.Watcher):
    """Calls a function for each of the methods that are named."""

    def __init__(self, **functions):
        vars(self).update(functions)


def run(config, clips, *, watch=None, trainer=None, **options):
    """Trains what lacks and, of a whole run, writes its report; returns its folder.

    ``watch`` has functions for the methods of a watcher, by name; ``options`` are the
    fitter's. Where there is a trainer there is no report: the training of
    many runs is looked at.
    """
    here, folds = plan(config, clips)
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
        missing = [job for job in here if not folder.is_finished(job, clips)]
        fold_loop.run(folder, fitter, clips, missing, Watching(**(watch or {})))
    if trainer is not None:
        return path
    # Every program of every trainer stays mapped into memory, in hundreds of places. A
    # process may have 65530 of these, and is aborted at the next.
    jax.clear_caches()
    if len(here) == folds:
        read = reader.read(path)
        report.write(read, report.read_predictions(read))
    return path


def count_traces(monkeypatch):
    """Returns a list that gets the shape of the clips whenever a program is traced."""
    traced, rgb = [], registry.INPUTS["rgb"]

    def prepare(clips):
        traced.append(clips.shape)
        return rgb.prepare(clips)

    counted = dataclasses.replace(rgb, prepare=prepare)
    monkeypatch.setitem(registry.INPUTS, "rgb", counted)
    return traced
