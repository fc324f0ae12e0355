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
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.data import class_sets, loading, splits
from meranet_jax.errors import UserError
from meranet_jax.runs import fold_loop, reader, report, report_text, writer
from meranet_jax.runs.progress import RunProgress
from meranet_jax.training import (
    distributed,
    loop,
    precision,
    signals,
    step,
    trainers,
    xla,
)


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
    xla.prepare(deterministic=config.deterministic)
    distributed.join(config)
    config = precision.resolved(config)
    console.quiet = not distributed.is_first()
    path = reader.path_of(config)
    writer.check_free(config, path)  # before the work, not after it
    step.check_attentions(config)
    with distributed.first_ahead("records"):
        sources = [
            loading.Source(
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
    clips = loading.load(
        sources,
        choose=functools.partial(
            class_sets.resolve, text=config.classes, paper=config.paper_classes
        ),
        size=config.size,
        leave_out=config.left_out,
        feed=config.feed,
    )
    split = splits.make(config, clips)
    jobs = splits.jobs(split)
    distributed.check_alike(
        "settings",
        reader.decisive(config)
        | {"--compile_ahead": config.compile_ahead}
        | {"clips": clips.fingerprint(), "classes": clips.classes}
        | {"split": splits.to_json(split, clips, config.protocol)},
    )
    here = fold_loop.here(jobs, config.shard)
    trainer = trainers.make_trainer(
        config,
        clips,
        folds=len(jobs),
        epoch_steps=max(fold_loop.epoch_steps(config, jobs)),
    )
    if config.compile_ahead:
        trainer.compile()
        distributed.wait("compiled")
        console.print("Prepared and compiled; a run with the same flags finds it.")
        return
    records = [source.folder for source in sources]
    with contextlib.ExitStack() as stack:
        with distributed.first_ahead("folder"):
            folder = stack.enter_context(
                writer.RunFolder(path, config, clips, split, records)
            )
            missing = [job for job in here if not folder.is_finished(job, clips)]
            if missing and distributed.is_first():
                folder.log_start(trainer.devices)
                console.print(
                    report_text.describe_start(reader.read(path), here, missing)
                )
        mine = [
            job
            for job in fold_loop.own(here, trainer)
            # Of those that train a fold together none may think otherwise.
            if trainer.any(not folder.is_finished(job, clips))
        ]
        if mine:
            steps = fold_loop.count_steps(config, mine, trainer.lanes)
            if jax.default_backend() == "cpu" and config.preset != "small":
                seconds = loop.time_step(trainer, config, mine[0].fold.train)
                console.print(report_text.describe_duration(seconds * steps))
            with RunProgress(
                console, config.epochs, steps=steps, folds=len(jobs)
            ) as progress:
                fold_loop.run(folder, trainer, config, clips, mine, progress)
        elif not missing:
            console.print(f"All folds of {path} are finished already.\n")
        distributed.wait("folds")
        if config.shard is not None:
            console.print(
                f"Part {config.fold_shard} is finished. When all are, pool "
                f"them: python eval.py --merge {path.parent}/{config.run_name}-shard*"
            )
            return
        if not distributed.is_first():
            return
        run = reader.read(path)
        results = report.write(run, report.read_predictions(run, folder.finished))
    console.print(report_text.describe(results))
    console.print(f"\nReport: {path / 'report.md'}")


if __name__ == "__main__":
    signals.listen()
    try:
        main(
            parse(sys.argv[1:]), Console(markup=False, highlight=False, soft_wrap=True)
        )
    except (DataError, UserError, OSError) as error:
        distributed.fail(f"error: {error}")
    except signals.Interrupted as interrupted:
        distributed.fail(
            f"interrupted ({interrupted}); what was done is kept, and the same "
            "command, without --overwrite, goes on from there",
            interrupted.status,
            orderly=True,
        )
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            distributed.fail(
                f"error: {str(error).splitlines()[0]}\nChoose a smaller --batch_size, "
                "or --accumulate, --remat or --feed=records."
            )
        distributed.fail_beside(traceback.format_exc())
