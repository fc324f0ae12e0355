"""Train MERANet: ``python train.py --dataset=casme2 --manual_dir=DIR``."""

import contextlib
import dataclasses
import difflib
import functools
import sys
import traceback

import jax
import tyro
from rich.console import Console

from datasets import DataError
from datasets.prepare import Options, builder, prepare
from meranet_jax import (
    backend,
    classes,
    cluster,
    data,
    experiment,
    interrupts,
    precision,
    report,
    run_folder,
    runs,
    splits,
    step,
    trainers,
    training,
    words,
)
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.progress import RunProgress


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """The two flags that the defaults of the others hang on."""

    dataset: str = TrainConfig.dataset
    preset: Preset = TrainConfig.preset


def parse(arguments: list[str]) -> TrainConfig:
    """The configuration that the command line asks for."""
    recipe, _ = tyro.cli(
        _Recipe, args=arguments, return_unknown_args=True, add_help=False
    )
    for dataset in recipe.dataset.split(","):
        builder(dataset.strip())  # says which data sets there are if this is none
    config, unknown = tyro.cli(
        TrainConfig,
        args=arguments,
        default=default_config(recipe.dataset, recipe.preset),
        description=__doc__.replace("``", ""),
        use_underscores=True,
        return_unknown_args=True,
    )
    if unknown:
        valid = [f"--{field.name}" for field in dataclasses.fields(TrainConfig)]
        given = unknown[0].partition("=")[0]
        nearest = difflib.get_close_matches(given.replace("-", "_"), valid, n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"Unknown: {given}.{hint} Valid flags: {', '.join(valid)}.")
    return config


def main(config: TrainConfig, console: Console) -> None:
    """Prepare what is missing, train, test once, and say what came of it."""
    backend.prepare(deterministic=config.deterministic)
    cluster.join(config)
    config = precision.resolved(config)
    console.quiet = not cluster.is_first()
    path = runs.path_of(config)
    run_folder.check_free(config, path)  # before the work, not after it
    step.check_attentions(config)
    with cluster.first_ahead("records"):
        sources = [
            data.Source(
                one.dataset,
                prepare(
                    one.dataset,
                    manual_dir=one.manual_dir,
                    data_dir=one.data_dir,
                    options=Options(**one.record_options()),
                ),
                min_frames=one.min_frames,
                label=one.label,
            )
            for one in config.each_dataset()
        ]
    clips = data.load(
        sources,
        choose=functools.partial(
            classes.resolve, text=config.classes, paper=config.paper_classes
        ),
        size=config.size,
        leave_out=config.left_out,
        feed=config.feed,
    )
    split = splits.make(config, clips)
    jobs = splits.jobs(split)
    cluster.check_alike(
        "settings",
        runs.decisive(config)
        | {"--compile_ahead": config.compile_ahead}
        | {"clips": clips.fingerprint(), "classes": clips.classes}
        | {"split": splits.to_json(split, clips, config.protocol)},
    )
    here = experiment.here(jobs, config.shard)
    trainer = trainers.make_trainer(
        config,
        clips,
        folds=len(jobs),
        epoch_steps=max(experiment.epoch_steps(config, jobs)),
    )
    if config.compile_ahead:
        trainer.compile()
        cluster.wait("compiled")
        console.print("Prepared and compiled; a run with the same flags finds it.")
        return
    records = [source.folder for source in sources]
    with contextlib.ExitStack() as stack:
        with cluster.first_ahead("folder"):
            folder = stack.enter_context(
                run_folder.RunFolder(path, config, clips, split, records)
            )
            missing = [job for job in here if not folder.is_finished(job, clips)]
            if missing and cluster.is_first():
                folder.log_start(trainer.devices)
                console.print(words.describe_start(runs.read(path), here, missing))
        mine = [
            job
            for job in experiment.own(here, trainer)
            # Of those that train a fold together none may think otherwise.
            if trainer.any(not folder.is_finished(job, clips))
        ]
        if mine:
            steps = experiment.count_steps(config, mine, trainer.lanes)
            if jax.default_backend() == "cpu" and config.preset != "small":
                seconds = training.time_step(trainer, config, mine[0].fold.train)
                console.print(words.describe_duration(seconds * steps))
            with RunProgress(
                console, config.epochs, steps=steps, folds=len(jobs)
            ) as progress:
                experiment.run(folder, trainer, config, clips, mine, progress)
        elif not missing:
            console.print(f"All folds of {path} are finished already.\n")
        cluster.wait("folds")
        if config.shard is not None:
            console.print(
                f"Part {config.fold_shard} is finished. When all are, pool "
                f"them: python eval.py --merge {path.parent}/{config.run_name}-shard*"
            )
            return
        if not cluster.is_first():
            return
        run = runs.read(path)
        results = report.write(run, report.read_predictions(run))
    console.print(words.describe(results))
    console.print(f"\nReport: {path / 'report.md'}")


if __name__ == "__main__":
    interrupts.listen()
    try:
        main(
            parse(sys.argv[1:]), Console(markup=False, highlight=False, soft_wrap=True)
        )
    except (DataError, UserError, OSError) as error:
        cluster.fail(f"error: {error}")
    except interrupts.Interrupted as interrupted:
        cluster.fail(
            f"interrupted ({interrupted}); what was done is kept, and the same "
            "command, without --overwrite, goes on from there",
            interrupted.status,
            orderly=True,
        )
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            cluster.fail(
                f"error: {str(error).splitlines()[0]}\nChoose a smaller --batch_size, "
                "or --accumulate, --remat or --feed=records."
            )
        cluster.fail_beside(traceback.format_exc())
