"""The paper's experiments: ``python reproduce.py table1 --dataset=casme2``.

table1, figure4, figure5, figure6 or parameters. Other flags than those below are
train.py's, and hold for all runs: --preset=small, --seeds=5, --epochs=10.
"""

import csv
import dataclasses
import functools
import sys
import typing
from pathlib import Path

import jax
import tyro
from rich.console import Console

import train
from datasets import DataError
from meranet_jax import (
    backend,
    budget,
    evaluate,
    explain,
    figures,
    files,
    interrupts,
    overlays,
    paper,
    precision,
    run_folder,
    runs,
)
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.paper import MERANET, RESNET, Experiment, Key
from meranet_jax.runs import Run

# Flags of train.py that would not mean what they say here.
_OURS = ("name", "overwrite", "fold_shard", "compile_ahead", "coordinator")
_OURS += ("num_processes", "process_id", "attention", "split")

# How many seeds, if nothing is said of it.
_SEEDS = "5"

# How many clips figure 6 shows, and in how many its sanity checks look.
_SHOWN = 6
_CHECKED = 6


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
    bases = []
    for dataset in asked.dataset.split(","):
        base = train.parse([f"--dataset={dataset.strip()}", *others])
        default = train.parse([f"--dataset={dataset.strip()}"])
        for name in _OURS:
            if getattr(base, name) != getattr(default, name):
                raise UserError(f"--{name}: reproduce.py sees to that itself.")
        if base.seeds is None and base.seed == 0:
            base = dataclasses.replace(base, seeds=_SEEDS)
        bases.append(base)
    needed = paper.plan(experiment, bases, asked.protocols, asked.loso_seeds)
    return experiment, asked, needed, bases


def main(arguments: list[str], console: Console) -> None:
    """Run what is missing, and make the table and the figure."""
    experiment, asked, needed, bases = parse(arguments)
    backend.prepare()
    missing = {key: config for key, config in needed.items() if not is_finished(config)}
    if asked.missing:
        for config in missing.values():
            console.print("python train.py " + " ".join(flags_of(config)))
        return
    for number, (key, config) in enumerate(missing.items(), 1):
        console.print(f"\nRun {number} of {len(missing)}: {', '.join(key)}")
        train.main(config, console)
        jax.clear_caches()  # programs of many runs would fill the process's maps
    folder = Path(asked.results_dir).expanduser() / experiment
    folder.mkdir(parents=True, exist_ok=True)
    finished = {key: runs.read(runs.path_of(config)) for key, config in needed.items()}
    text = _MAKERS[experiment](folder, finished, bases)
    with files.whole(folder / f"{experiment}.md") as part:
        part.write_text(text)
    console.print(f"\n{text}\n{folder}")


def is_finished(config: TrainConfig) -> bool:
    """Whether a run is there, with these settings and a report.

    Raises:
      UserError: if it has others.
    """
    path = runs.path_of(config)
    run_folder.check_free(precision.resolved(config), path)
    return (path / "report.json").exists()


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


def _table1(folder: Path, finished: dict[Key, Run], bases) -> str:
    rows, text = paper.table1(finished)
    _write_rows(folder / "table1.csv", rows)
    return text


def _losses(folder: Path, finished: dict[Key, Run], bases, *, title, claim) -> str:
    found = paper.losses(finished)
    _write_rows(folder / f"{folder.name}.csv", paper.loss_rows(found))
    figures.save(figures.losses(found), folder / f"{folder.name}.png")
    return paper.describe_losses(title, claim, found)


def _figure6(folder: Path, finished: dict[Key, Run], bases) -> str:
    text, rows, checks = ["# Figure 6: where the networks look", ""], [], []
    for dataset in dict.fromkeys(dataset for dataset, _, _ in finished):
        columns = {}
        for network in (MERANET, RESNET):
            (run,) = (
                run
                for (of, _, label), run in finished.items()
                if of == dataset and label == network
            )
            opened = evaluate.reopen(run, None)
            explainer = explain.Explainer(opened)
            seeds = sorted({job.seed for job in opened.jobs})
            chosen = explain.test_clips(opened, seeds[0], _SHOWN)
            columns[network] = explainer.show_all(chosen)
            of_run = {"dataset": dataset, "network": network}
            for seed in seeds:
                every = explain.test_clips(opened, seed, len(opened.clips))
                shown = explainer.show_all(every)
                for kind, numbers in explain.localisation(shown).items():
                    means = {name: float(n.mean()) for name, n in numbers.items()}
                    clips = len(numbers["auc"])
                    rows.append(
                        of_run | {"seed": seed, "map": kind, "clips": clips} | means
                    )
            job = chosen[0][0]
            ids = [name for of, name in chosen if of.folder == job.folder][:_CHECKED]
            checks += [of_run | row for row in explain.sanity(explainer, job, ids)]
        plain = dataset.replace("/", "-")
        figures.save(overlays.overview(columns), folder / f"{plain}.png")
        for network, shown in columns.items():
            for one in shown:
                name = f"{plain}-{network.replace(' ', '')}-{overlays.file_name(one)}"
                overlays.save_animation(overlays.animation(one), folder / f"{name}.gif")
        text += [f"![Apex frames and Grad-CAM on {dataset}]({plain}.png)", ""]
    _write_rows(folder / "localisation.csv", rows)
    _write_rows(folder / "sanity.csv", checks)
    return "\n".join([*text, ""]) + paper.describe_saliency(rows, checks)


def _parameters(folder: Path, finished: dict[Key, Run], bases) -> str:
    rows, text = budget.parameters(bases[0], 3, budget.take_turns)
    _write_rows(folder / "parameters.csv", rows)
    return text


def _write_rows(path: Path, rows: list[dict]) -> None:
    with files.whole(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


_MAKERS = {
    "table1": _table1,
    "figure4": functools.partial(
        _losses,
        title="Figure 4: validation loss, shared CNN and shared MLP",
        claim="the shared CNN has the lower loss at every epoch (section 5.2).",
    ),
    "figure5": functools.partial(
        _losses,
        title="Figure 5: validation loss by the spatio-temporal kernel",
        claim="5 is better than 3 and 7 (section 5.3).",
    ),
    "figure6": _figure6,
    "parameters": _parameters,
}

if __name__ == "__main__":
    interrupts.listen()
    try:
        main(sys.argv[1:], Console(markup=False, highlight=False, soft_wrap=True))
    except (DataError, UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except interrupts.Interrupted as interrupted:
        print(f"interrupted ({interrupted}); the same command goes on", file=sys.stderr)
        sys.exit(interrupted.status)
