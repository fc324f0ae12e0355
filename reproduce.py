"""The paper's experiments: ``python reproduce.py table1 --dataset=casme2``.

table1, figure4, figure5, figure6 or parameters. Other flags than those below are
train.py's, and hold for all runs: --preset=small, --seeds=5, --epochs=10.
"""

import dataclasses
import shlex
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

import jax
import tyro
from rich.console import Console

import train
from datasets import DataError
from meranet_jax import files, recipes
from meranet_jax.analysis import artifacts, experiments
from meranet_jax.analysis.experiments import Experiment, Key
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.runs import reader, writer
from meranet_jax.training import distributed, precision, signals, xla

# Flags of train.py that would not mean what they say here.
_OURS = ("name", "overwrite", "fold_shard", "compile_ahead", "coordinator")
_OURS += ("num_processes", "process_id", "attention", "attentions", "split")

# What every experiment varies itself.
_VARIED = {"table1": ("protocol",), "figure4": ("shared",)}
_VARIED |= {"figure5": ("kernel_size",)}

# What hangs on them is compared when a run goes on, and not when it is finished.
_CLIPS = ("classes", "data_dir")

# How many seeds, if nothing is said of it.
_SEEDS = "5"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked for, beside train.py's flags."""

    dataset: str = TrainConfig.dataset
    """Data sets with commas between: each by itself."""
    protocols: tuple[str, ...] = ("holdout", "loso")
    """Of table1: the paper's, and what the field trusts."""
    loso_seeds: int = 1
    """How many of the seeds leave-one-subject-out has."""
    results_dir: str = "results"
    """Where tables and figures go, in a folder for each experiment."""
    missing: bool = False
    """Only say which runs are missing, as commands: for a cluster."""


def parse(
    arguments: list[str],
) -> tuple[Experiment, Asked, dict[Key, TrainConfig], list[TrainConfig]]:
    """The experiment, what is asked of it, its runs and the data sets' settings."""
    known = typing.get_args(Experiment)
    if not arguments or arguments[0] in ("-h", "--help"):
        tyro.cli(Asked, args=["--help"], description=__doc__.replace("``", ""))
    experiment, *rest = arguments
    if experiment not in known:
        raise UserError(f"{experiment} is none of {', '.join(known)}.")
    asked, others = tyro.cli(
        Asked,
        args=rest,
        return_unknown_args=True,
        use_underscores=True,
        prog=experiment,
    )
    if asked.loso_seeds < 1:
        raise UserError(f"--loso_seeds={asked.loso_seeds} must be at least 1.")
    fixed = (*_OURS, *_VARIED.get(experiment, ()))
    bases = [_base(one.strip(), others, fixed) for one in asked.dataset.split(",")]
    if experiment == "parameters" and len(bases) > 1:
        raise UserError("parameters is of one network: name one --dataset.")
    bases = _each_its_own(bases, others)
    needed = experiments.plan(experiment, bases, asked.protocols, asked.loso_seeds)
    return experiment, asked, needed, bases


def _base(dataset: str, flags: list[str], fixed: Sequence[str]) -> TrainConfig:
    """The settings of a data set's runs; what is ``fixed`` cannot be set.

    Raises:
      UserError: if one of them is not to be set.
    """
    base = train.parse([f"--dataset={dataset}", *flags])
    default = train.parse([f"--dataset={dataset}"])
    for name in fixed:
        if getattr(base, name) != getattr(default, name):
            raise UserError(f"--{name}: reproduce.py sees to that itself.")
    one_seed = any(flag.partition("=")[0] == "--seed" for flag in flags)
    if base.seeds is None and not one_seed:
        base = dataclasses.replace(base, seeds=_SEEDS)
    return base


def _each_its_own(bases: list[TrainConfig], flags: list[str]) -> list[TrainConfig]:
    """With what NAME=VALUE lists say of each of several data sets.

    Raises:
      UserError: if something is said that can hold of one alone.
    """
    first = {base.dataset.partition("/")[0]: base.dataset for base in reversed(bases)}
    if len(first) == 1:
        return bases
    together = train.parse([f"--dataset={','.join(first.values())}", *flags])
    told = dict(zip(first, together.each_dataset(), strict=True))
    return [
        dataclasses.replace(
            base,
            **{
                name: getattr(told[base.dataset.partition("/")[0]], name)
                for name in recipes.LISTED
            },
        )
        for base in bases
    ]


def main(arguments: list[str], console: Console) -> None:
    """Run what is missing, and make the table and the figure."""
    experiment, asked, needed, bases = parse(arguments)
    if distributed.launched_together():
        raise UserError(
            "reproduce.py is one process. Give the commands that it says with "
            "--missing to the cluster, and start it again when they are done."
        )
    xla.prepare(deterministic=any(base.deterministic for base in bases))
    missing = {key: config for key, config in needed.items() if not is_finished(config)}
    if asked.missing:
        for config in missing.values():
            console.print("python train.py " + shlex.join(flags_of(config)))
        return
    for number, (key, config) in enumerate(missing.items(), 1):
        console.print(f"\nRun {number} of {len(missing)}: {', '.join(key)}")
        train.main(config, console)
        jax.clear_caches()  # programs of many runs would fill the process's maps
    folder = Path(asked.results_dir).expanduser() / experiment
    folder.mkdir(parents=True, exist_ok=True)
    finished = {
        key: reader.read(reader.path_of(config)) for key, config in needed.items()
    }
    text = artifacts.make(experiment, folder, finished, bases)
    with files.atomic_write(folder / f"{experiment}.md") as part:
        part.write_text(text)
    console.print(f"\n{text}\n{folder}")


def is_finished(config: TrainConfig) -> bool:
    """Whether a run is there, with these settings and a report.

    Raises:
      UserError: if it has others.
    """
    path = reader.path_of(config)
    try:
        writer.check_free(precision.resolved(config), path)
        if not (path / "report.json").exists():
            return False
        saved = reader.read(path).config
        for name in _CLIPS:
            ours, theirs = getattr(config, name), getattr(saved, name)
            if ours != theirs:
                raise UserError(f"The run in {path} has --{name}={theirs}, not {ours}.")
    except UserError as error:
        raise UserError(
            f"{error}\nreproduce.py keeps its runs apart by --runs_dir: choose "
            "another, or delete that run."
        ) from error
    return True


def flags_of(config: TrainConfig) -> list[str]:
    """What to give to train.py for a configuration."""
    first = [f"--dataset={config.dataset}", f"--preset={config.preset}"]
    default = train.parse(first)
    flags = list(first)
    for name, value in dataclasses.asdict(config).items():
        if value == getattr(default, name):
            continue
        if isinstance(value, bool):
            flags.append(f"--{'' if value else 'no-'}{name}")
        elif isinstance(value, tuple):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags.append(f"--{name}={value}")
    return flags


if __name__ == "__main__":
    signals.listen()
    try:
        main(sys.argv[1:], Console(markup=False, highlight=False, soft_wrap=True))
    except (DataError, UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except signals.Interrupted as interrupted:
        print(f"interrupted ({interrupted}); the same command goes on", file=sys.stderr)
        sys.exit(interrupted.status)
