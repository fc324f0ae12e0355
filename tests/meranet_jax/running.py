"""Whole runs, as train.py does them, on the tests' clips."""

from pathlib import Path

import jax

from meranet_jax import experiment, report, run_folder, runs, splits, trainers


def plan(config, clips):
    """The folds of a run that are trained here, and how many there are in all."""
    jobs = splits.jobs(splits.make(config, clips))
    return experiment.here(jobs, config.shard), len(jobs)


def run(config, clips, *, on_epoch=lambda job, line: None, **options):
    """Trains what lacks and, of a whole run, writes its report; returns its folder.

    ``options`` are the trainer's.
    """
    here, folds = plan(config, clips)
    path = runs.path_of(config)
    split = splits.make(config, clips)
    trainer = trainers.make_trainer(config, clips, folds=folds, **options)
    with run_folder.RunFolder(path, config, clips, split, [Path("/records")]) as folder:
        folder.log_start(trainer.devices)
        missing = [job for job in here if not folder.is_finished(job, clips)]
        experiment.run(
            folder,
            trainer,
            config,
            clips,
            missing,
            on_step=lambda jobs, epoch, steps, means: None,
            on_epoch=on_epoch,
        )
    # Every program of every trainer stays mapped into memory, in hundreds of places. A
    # process may have 65530 of these, and is aborted at the next.
    jax.clear_caches()
    if len(here) == folds:
        read = runs.read(path)
        report.write(read, report.read_predictions(read))
    return path
