"""Compute a run's reported numbers anew: ``python eval.py --run=runs/NAME``."""

import dataclasses
import sys
from pathlib import Path

import tyro
from rich.console import Console

from meranet_jax import data, protocols, report, training
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.errors import UserError


def main(run: str, data_dir: str | None = None) -> None:
    """Compute a run's reported numbers anew from its checkpoint and its records.

    Args:
      run: the run's folder.
      data_dir: where the records are now, if they were moved.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    folder = Path(run).expanduser()
    config, records, split, reported = report.read_run(folder)
    if data_dir is not None:  # <data_dir>/<name>/<configuration>/<version>
        records = Path(data_dir).expanduser().joinpath(*records.parts[-3:])
    clips = data.load(
        records,
        classes=config.classes,
        min_frames=config.min_frames,
        size=config.size,
        label=config.label,
    )
    fold = protocols.from_ids(split, clips)
    # One device serves any machine; the run may have had more than there are here.
    one = dataclasses.replace(config, devices=1)
    trainer = training.make_trainer(one, clips, fold)
    best = reported["best_epoch"]
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        trainer.resume(checkpoints.restore(best, trainer.state_shapes))
    probabilities = trainer.probabilities(clips.clips[fold.test])
    results = report.score(clips, fold.test, probabilities)
    console.print(f"Test part, checkpoint of epoch {best}:")
    console.print(report.describe(results))
    differing = [name for name in results if results[name] != reported.get(name)]
    if differing:
        raise UserError(
            f"{', '.join(differing)} differ from {folder / 'report.json'}. Were the "
            "records or the code changed, or is this another device?"
        )
    saved = report.read_predictions(folder, clips)
    names = [clips.clip_ids[index] for index in fold.test]
    if saved.keys() != set(names):
        raise UserError(f"{folder / 'predictions.csv'} is not of this test part.")
    apart = max(
        abs(saved[name] - row).max()
        for name, row in zip(names, probabilities, strict=True)
    )
    console.print(
        f"Equal to {folder / 'report.json'}; no probability is further than "
        f"{apart:.1e} from predictions.csv."
    )


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__.replace("``", ""), use_underscores=True)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
