"""A complete run: prepare the clips, fit every fold, test once, write the report."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from rich.console import Console

from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets, loading, splits
from meranet_jax.data.loading import Clips
from meranet_jax.data.splits import Job
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import specifications
from meranet_jax.recognisers import Network
from meranet_jax.runs import fold_loop, reader, report, report_text, writer
from meranet_jax.runs.progress import RunProgress
from meranet_jax.runs.writer import RunFolder
from meranet_jax.training import distributed, fitters, xla
from meranet_jax.training.fitters import Fitter

# Prepares the records of a configuration of one data set, and returns their folder.
Prepare = Callable[[TrainConfig], Path]


def train_run(config: TrainConfig, prepare: Prepare, console: Console) -> None:
    """Trains what is missing of a run, tests it once, and writes and prints its report.

    To be called before anything else uses JAX's devices. With ``--fold_shard`` the
    report is left to ``eval.py --merge``; of several processes the first writes it.

    Args:
      config: the run's.
      prepare: see ``Prepare``; called for each data set, by the first process first.
      console: progress and results are printed here, by the first process alone.

    Raises:
      UserError: if the run cannot be trained as asked.
      DataError: if a data set cannot be prepared.
      OSError: if the run folder cannot be written.
      Interrupted: if a signal asked the run to stop; nothing is lost by it.
    """
    xla.configure(deterministic=getattr(config.settings, "deterministic", False))
    distributed.initialize(config)
    config = fitters.resolve(config)
    console.quiet = not distributed.is_first()
    path = reader.path_of(config)
    # What can be refused now is not refused after the work of preparing.
    writer.check_free(config, path)
    _check_network(config)
    records, clips = _load_clips(config, prepare)
    split = splits.make(config, clips)
    jobs = splits.jobs(split)
    compile_ahead = getattr(config.settings, "compile_ahead", False)
    distributed.check_equal_on_processes(
        "settings",
        reader.result_settings(config)
        | {"--compile_ahead": compile_ahead}
        | {"clips": clips.fingerprint(), "classes": clips.classes}
        | {"split": splits.to_json(split, clips, config.protocol)},
    )
    of_shard = fold_loop.folds_of_shard(jobs, config.shard)
    fitter = fitters.make_fitter(
        config, clips, folds=len(jobs), parts=fold_loop.training_parts(jobs)
    )
    if compile_ahead:
        fitter.compile()
        distributed.barrier("compiled")
        console.print("Prepared and compiled; a run with the same flags finds it.")
        return
    with contextlib.ExitStack() as stack:
        with distributed.first_process_first("folder"):
            folder = stack.enter_context(RunFolder(path, config, clips, split, records))
            missing = [job for job in of_shard if not folder.is_finished(job, clips)]
            if missing and distributed.is_first():
                folder.log_start(fitter.devices)
                console.print(
                    report_text.describe_start(reader.read(path), of_shard, missing)
                )
        mine = [
            job
            for job in fold_loop.folds_of_process(of_shard, fitter)
            # Processes that train a fold together must not disagree about it.
            if fitter.any_process(not folder.is_finished(job, clips))
        ]
        if mine:
            _fit(folder, fitter, config, clips, mine, folds=len(jobs), console=console)
        elif not missing:
            console.print(f"All folds of {path} are finished already.\n")
        distributed.barrier("folds")
        if config.shard is not None:
            console.print(
                f"Part {config.fold_shard} is finished. When all parts are, pool "
                f"them: python eval.py --merge {path.parent}/{config.run_name}-shard*"
            )
            return
        if not distributed.is_first():
            return
        run = reader.read(path)
        results = report.write(run, report.read_predictions(run, folder.finished))
    console.print(report_text.describe(results))
    console.print(f"\nReport: {path / 'report.md'}")


def _check_network(config: TrainConfig) -> None:
    """Raises UserError if a network cannot take such clips."""
    if isinstance(config.recogniser, Network):
        shape = inputs.find(config.input).shape(config.frames, config.size)
        specifications.check_shapes(config.recogniser, config.settings, shape)


def _load_clips(config: TrainConfig, prepare: Prepare) -> tuple[list[Path], Clips]:
    """The folders of the records, and the clips in them."""
    with distributed.first_process_first("records"):
        sources = [
            loading.Source(
                one.dataset, prepare(one), min_frames=one.min_frames, label=one.label
            )
            for one in config.each_dataset()
        ]
    clips = loading.load(
        sources,
        choose_classes=functools.partial(
            class_sets.resolve, text=config.classes, paper=config.paper_classes
        ),
        size=config.size,
        leave_out=config.left_out,
        feed=config.feed,
    )
    return [source.folder for source in sources], clips


def _fit(
    folder: RunFolder,
    fitter: Fitter,
    config: TrainConfig,
    clips: Clips,
    jobs: Sequence[Job],
    *,
    folds: int,
    console: Console,
) -> None:
    """Fits and tests this process's missing folds under a progress bar."""
    steps = fitter.count_steps(fold_loop.training_parts(jobs))
    if jax.default_backend() == "cpu" and config.preset != "small":
        seconds = fitter.seconds_per_step(jobs[0].fold.train)
        if seconds is not None:
            console.print(report_text.describe_duration(seconds * steps))
    epochs = getattr(config.settings, "epochs", 1)
    with RunProgress(console, epochs, steps=steps, folds=folds) as progress:
        fold_loop.run(folder, fitter, clips, jobs, progress)
