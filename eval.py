"""Evaluate finished runs: recompute the results, compare two runs, or merge runs.

``python eval.py --run=RUN``, ``--compare A B``, ``--merge PART PART ...``
"""

import sys
from pathlib import Path

import tyro
from rich.console import Console

from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison
from meranet_jax.runs import merge, reader, report_text, verification
from meranet_jax.runs.layout import RunLayout
from meranet_jax.training import xla


def main(
    run: str | None = None,
    compare: tuple[str, str] | None = None,
    merge: tuple[str, ...] = (),
    data_dir: str | None = None,
    name: str | None = None,
) -> None:
    """Recompute the results of a run, compare two runs, or merge runs.

    Args:
      run: Run folder. Recomputes its results from its predictions, and its predictions
        from its weights and records.
      compare: Two run folders. Compares the runs on the same clips.
      merge: Folders of the shards of a run (--fold_shard), or of runs with different
        seeds. Merges them into a new run next to them.
      data_dir: With --run: folder of the records, if they were moved.
      name: With --merge: name of the new run. Default: the name of the shards without
        -shard.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    given = [bool(run), bool(compare), bool(merge)]
    if sum(given) != 1:
        raise UserError("Give one of --run=RUN, --compare A B, --merge PART PART ...")
    if data_dir is not None and not run:
        raise UserError("--data_dir can only be used with --run.")
    if name is not None and not merge:
        raise UserError("--name can only be used with --merge.")
    if run:
        _evaluate(_read(run), data_dir, console)
    elif compare:
        _compare(*map(_read, compare), console)
    else:
        _merge([_read(part) for part in merge], name, console)


def _read(path: str) -> reader.Run:
    return reader.read(Path(path).expanduser())


def _evaluate(run: reader.Run, data_dir: str | None, console: Console) -> None:
    console.print(report_text.describe(verification.check_report(run)))
    xla.configure()
    difference = verification.check_predictions(run, data_dir)
    console.print(
        f"Equal to {run.layout.report}. Recomputed from weights and records, each clip "
        "has the same predicted class, and probabilities differ by at most "
        f"{difference:.1e} from {run.layout.predictions.name}."
    )


def _compare(first: reader.Run, second: reader.Run, console: Console) -> None:
    both = [verification.read_predictions(run) for run in (first, second)]
    titles = [f"{run.path}, {report_text.title(run)}" for run in (first, second)]
    console.print(comparison.describe(comparison.compare(*both), *titles))


def _merge(parts: list[reader.Run], name: str | None, console: Console) -> None:
    path = merge.merged_path(parts, name)
    console.print(report_text.describe(merge.merge(parts, path)))
    console.print(f"\nReport: {RunLayout(path).report_text}")


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__.replace("``", ""), use_underscores=True)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
