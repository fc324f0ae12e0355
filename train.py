"""Train MERANet: ``python train.py --dataset=casme2 --manual_dir=DIR``."""

import dataclasses
import difflib
import sys

import jax
import tyro
from rich.console import Console

from datasets import DataError
from datasets.prepare import Options, builder, prepare
from meranet_jax import data, protocols, report, training
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.progress import EpochProgress


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
    builder(recipe.dataset)  # says which data sets there are if this is none
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
    report.free_path(config)  # before the work, not after it
    records = prepare(
        config.dataset,
        manual_dir=config.manual_dir,
        data_dir=config.data_dir,
        options=Options(**config.record_options()),
    )
    clips = data.load(
        records,
        classes=config.classes,
        min_frames=config.min_frames,
        size=config.size,
        label=config.label,
    )
    fold = protocols.holdout(
        clips,
        test_fraction=config.test_fraction,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    trainer = training.make_trainer(config, clips, fold)
    with (
        report.RunFolder(config, records, trainer.devices) as run,
        Checkpoints(run.checkpoints) as checkpoints,
    ):
        run.write_split(protocols.to_ids(fold, clips))
        console.print(report.describe_run(config, clips, fold, trainer.devices))
        trainer.start()
        if jax.default_backend() == "cpu" and config.preset != "small":
            seconds = training.time_step(trainer, config, clips, fold)
            console.print(
                report.describe_duration(config, seconds * trainer.epoch_steps)
            )
        with EpochProgress(console, config.epochs, trainer.epoch_steps) as progress:

            def on_epoch(line):
                run.log_epoch(line)
                progress.epoch(line)

            training.train(
                trainer,
                config,
                clips,
                fold,
                checkpoints,
                on_step=progress.step,
                on_epoch=on_epoch,
            )
        # The choice is made; now, and only now, the test part is read.
        best = checkpoints.best_epoch()
        trainer.resume(checkpoints.restore(best, trainer.state_shapes))
        probabilities = trainer.probabilities(clips.clips[fold.test])
        results = run.write_results(clips, fold.test, probabilities, best)
    console.print(f"\nTest part, checkpoint of epoch {best}:")
    console.print(report.describe(results))
    console.print(f"\nRun folder: {run.path}")


if __name__ == "__main__":
    try:
        main(
            parse(sys.argv[1:]), Console(markup=False, highlight=False, soft_wrap=True)
        )
    except (DataError, UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; finished epochs are kept", file=sys.stderr)
        sys.exit(130)
