"""Runs an experiment and writes its table and figure."""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from rich.console import Console

from meranet_jax import files, flags
from meranet_jax.analysis import artifacts, reproduction_flags
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.runs import layout, origins, reader, writer
from meranet_jax.runs.train_run import Prepare, train_run
from meranet_jax.training import fitters, launchers, xla

# Settings whose effect is compared when a run resumes, but not when it is finished.
_CLIPS = ("classes", "data_dir")


def main(
    arguments: Sequence[str],
    prepare: Prepare,
    console: Console,
    *,
    description: str = "",
    check_dataset: Callable[[str], object] = lambda name: None,
) -> None:
    """Trains the missing runs of an experiment, and writes its table and figure.

    Args:
      arguments: see ``reproduction_flags.parse``.
      prepare: see ``runs.train_run``.
      console: where to print.
      description: see ``reproduction_flags.parse``.
      check_dataset: see ``reproduction_flags.parse``.

    Raises:
      UserError: if the experiment cannot be run as asked.
    """
    experiment, request, needed, bases = reproduction_flags.parse(
        arguments, description=description, check_dataset=check_dataset
    )
    if launchers.is_distributed(os.environ):
        raise UserError(
            "reproduce.py runs in one process. Submit the commands that it prints with "
            "--missing to the cluster, and start it again when they are finished."
        )
    xla.configure(deterministic=any(base.settings.deterministic for base in bases))
    missing = {key: config for key, config in needed.items() if not is_finished(config)}
    if request.missing:
        if not missing:
            print(
                f"No run is missing, {len(needed)} of {len(needed)} are finished. The "
                "same command without --missing writes the results.",
                file=sys.stderr,
            )
        for config in missing.values():
            console.print("python train.py " + shlex.join(flags.to_arguments(config)))
        return
    # Before hours of training
    folder = _make_folder(request.results_dir, experiment)
    for config in missing.values():
        fitters.check(config)
    for number, (key, config) in enumerate(missing.items(), 1):
        console.print(f"\nRun {number} of {len(missing)}: {', '.join(key)}")
        train_run(config, prepare, console)
        jax.clear_caches()  # compiled programs of many runs would exhaust memory maps
    finished = {
        key: reader.read(layout.run_path(config)) for key, config in needed.items()
    }
    kept = artifacts.keep_earlier(folder, finished, bases)
    text = artifacts.make(experiment, folder, finished, bases).rstrip("\n")
    text += f"\n\nCommand: `python reproduce.py {shlex.join(arguments)}`\n"
    with files.atomic_write(folder / f"{experiment}.md") as part:
        part.write_text(text)
    console.print(f"\n{text}\n{folder}")
    if kept is not None:
        console.print(f"The results of other runs or settings in it are now in {kept}.")


def _make_folder(results_dir: str, experiment: str) -> Path:
    """Makes the folder of an experiment's results.

    Raises:
      UserError: if no file can be written to it.
    """
    folder = Path(results_dir).expanduser() / experiment
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--results_dir={results_dir}: cannot write to {folder}: {error.strerror}. "
            "Nothing was trained. Choose another folder."
        ) from error
    return folder


def is_finished(config: TrainConfig) -> bool:
    """Returns whether a run exists with these settings and a report.

    Training a run whose report is damaged only writes the report again.

    Raises:
      UserError: if it has other settings, or the weights that it starts from cannot be
        read.
    """
    path = layout.run_path(config)
    other, replace = "another --runs_dir", "delete this folder"
    advice = f"Choose {other}, or {replace}."
    writer.check_free(
        fitters.resolve(config),
        path,
        origins.load(config),
        other=other,
        replace=replace,
    )
    if not layout.RunLayout(path).report.exists():
        return False
    try:
        saved = reader.read(path).config
    except UserError as error:
        raise UserError(f"{error} {advice}") from error
    for name in _CLIPS:
        ours, theirs = getattr(config, name), getattr(saved, name)
        if ours != theirs:
            raise UserError(
                f"The run in {path} has --{name}={theirs}, not {ours}. {advice}"
            )
    try:
        reader.read_report(path)
    except UserError:
        return False
    return True
