"""Runs a complete experiment: prepares clips, fits and tests folds, reports."""

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import jax
from rich.console import Console

from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets, loading, splits
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.clips import Clips
from meranet_jax.data.source_records import Source
from meranet_jax.data.splits import Job
from meranet_jax.inputs import registry as inputs
from meranet_jax.recognisers import Network
from meranet_jax.runs import (
    fold_loop,
    layout,
    origins,
    plan_text,
    provenance,
    reader,
    report,
    report_text,
    writer,
)
from meranet_jax.runs.progress import RunProgress
from meranet_jax.runs.writer import RunFolder
from meranet_jax.training import (
    devices,
    distributed,
    fitters,
    launchers,
    signals,
    xla,
)
from meranet_jax.training.fitters import Fitter

_COMPILING = "Compiling the network, which can take minutes."

# Prepares the records of the one data set of a configuration; returns their folder.
Prepare = Callable[[TrainConfig], Path]


def train_run(config: TrainConfig, prepare: Prepare, console: Console) -> None:
    """Trains and tests the unfinished folds of a run, then reports its results.

    It must be called before anything else uses JAX's devices. With several processes,
    the first one writes the report. With ``--fold_shard``, ``eval.py --merge`` does.

    Args:
      config: the settings of the run.
      prepare: see ``Prepare``. Called once for each data set, by the first process
        before the others.
      console: where the first process prints progress and results.

    Raises:
      UserError: if the settings, the clips, the devices and the run folder do not
        allow the run.
      DataError: if a data set cannot be prepared.
      OSError: if the run folder cannot be written.
      Interrupted: if a signal asked the run to stop; all progress is saved.
    """
    xla.configure(deterministic=getattr(config.settings, "deterministic", False))
    distributed.initialize(config)
    config = fitters.resolve(config)
    console.quiet = not distributed.is_first()
    splits.check_settings(config)
    path = layout.run_path(config)
    # Preparing may take long, so everything that can fail before it is checked first.
    initial = origins.load(config)
    writer.check_free(config, path, initial)
    fitters.check(config)
    records, clips = load_clips(config, prepare)
    split = splits.make(config, clips)
    jobs = splits.jobs(split)
    if initial is not None:
        initial.check_subjects(clips, jobs)
        initial = initial.for_classes(config, clips.classes)
    compile_ahead = getattr(config.settings, "compile_ahead", False)
    distributed.check_equal_on_processes(
        "settings",
        reader.result_settings(config)
        | {"--compile_ahead": compile_ahead}
        | {"clips": clips.fingerprint(), "classes": clips.classes}
        | {"split": splits.to_json(split, clips, config.protocol)}
        | {"--init": initial and initial.digest}
        | {"optical flow": provenance.describe_flow(config)},
    )
    of_shard = fold_loop.folds_of_shard(jobs, config.shard)
    fitter = fitters.make_fitter(
        config,
        clips,
        folds=len(jobs),
        parts=fold_loop.training_parts(jobs),
        initial=None if initial is None else initial.weights,
        records=records[0],
    )
    _report_devices(config, fitter, folds=len(jobs))
    if compile_ahead:
        console.print(_COMPILING)
        fitter.compile()
        distributed.barrier("compiled")
        console.print(
            "Prepared and compiled. A run with the same flags uses the result."
        )
        return
    with contextlib.ExitStack() as stack:
        with distributed.first_process_first("folder"):
            folder = stack.enter_context(
                RunFolder(path, config, clips, split, records, initial)
            )
            missing = [job for job in of_shard if not folder.is_finished(job, clips)]
            if missing and distributed.is_first():
                folder.log_start(fitter.devices, fitter.threads)
                console.print(
                    plan_text.describe_plan(reader.read(path), of_shard, missing)
                )
        to_fit = [
            job
            for job in fold_loop.folds_of_process(of_shard, fitter)
            # Processes that train a fold together must all train it or none.
            if fitter.any_process(not folder.is_finished(job, clips))
        ]
        if to_fit:
            _fit(
                folder, fitter, config, clips, to_fit, folds=len(jobs), console=console
            )
        elif not missing:
            console.print(f"All folds of {path} are finished already.\n")
        distributed.barrier("folds")
        if config.shard is not None:
            console.print(
                f"Part {config.fold_shard} is finished. When all parts are finished, "
                f"merge them: python eval.py --merge {layout.shards_pattern(config)}"
            )
            return
        if not distributed.is_first():
            return
        run = reader.read(path)
        results = report.write(run, report.read_predictions(run, folder.finished))
    console.print(report_text.describe(results))
    console.print(f"\nReport: {run.layout.report_text}")


def _report_devices(config: TrainConfig, fitter: Fitter, folds: int) -> None:
    """Says in each process if it sees or uses fewer devices than it could."""
    local = jax.local_devices()
    notes = [
        launchers.describe_missing_gpus(os.environ, local[0].platform, len(local)),
        devices.describe_unused(config, fitter.devices, folds),
    ]
    for note in filter(None, notes):
        distributed.report(note)


def load_clips(
    config: TrainConfig,
    prepare: Prepare,
    choose_classes: Callable[[Collection[str]], ClassSet] | None = None,
    class_set: str | None = None,
) -> tuple[list[Path], Clips]:
    """Prepares the records of a configuration, and loads their clips.

    Args:
      config: names the data sets, and says how clips are made and left out.
      prepare: see ``Prepare``.
      choose_classes: returns the classes, given all emotions of the records; by default
        those of ``--classes``.
      class_set: the value of ``--classes`` that determines which clips are loaded, and
        by which record field; by default that of the configuration.

    Returns:
      The folder of the records of each data set, and the clips.

    Raises:
      UserError: see ``class_sets.check`` and ``loading.load``.
      DataError: if a data set cannot be prepared.
    """
    class_set = config.classes if class_set is None else class_set
    class_sets.check(class_set, config.datasets, config.paper_classes)
    with distributed.first_process_first("records"):
        sources: list[Source] = []
        for one in config.each_dataset():
            with signals.keeping(_kept_records(one.dataset, sources)):
                folder = prepare(one)
            source = Source(
                one.dataset,
                folder,
                min_frames=one.min_frames,
                label=class_sets.label(class_set, one.label),
                rule=class_sets.rule(class_set, one.dataset, one.camera, one.label),
            )
            sources.append(source)
    with signals.keeping(
        "this start has trained nothing; the records are kept, and the optical flow "
        "of the clips that were finished"
    ):
        clips = loading.load(
            sources,
            choose_classes=choose_classes
            or functools.partial(
                class_sets.resolve,
                text=config.classes,
                paper=config.paper_classes,
                datasets=config.datasets,
            ),
            size=config.size,
            leave_out=config.left_out,
            whole_clips=config.whole_clips,
            feed=config.feed,
            network_input=inputs.find(config.input),
            flow_method=config.flow_method,
        )
    return [source.folder for source in sources], clips


def _kept_records(dataset: str, prepared: Sequence[Source]) -> str:
    """Returns what is kept if a signal stops the preparation of a data set."""
    text = (
        f"nothing was trained; no records of {dataset} are kept unless all clips were"
    )
    text += " written"
    if prepared:
        names = ", ".join(source.dataset for source in prepared)
        text += f", and those of {names} are kept"
    return text


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
    """Fits and tests the unfinished folds of this process with a progress bar."""
    steps = fitter.count_steps(fold_loop.training_parts(jobs))
    if isinstance(config.recogniser, Network):
        console.print(_COMPILING)
    if jax.default_backend() == "cpu" and config.preset == "paper":
        seconds = fitter.seconds_per_step(jobs[0].fold.train)
        if seconds is not None:
            console.print(plan_text.describe_duration(seconds * steps))
    epochs = getattr(config.settings, "epochs", 1)
    with RunProgress(console, epochs, steps=steps, folds=folds) as progress:
        fold_loop.run(folder, fitter, clips, jobs, progress)
