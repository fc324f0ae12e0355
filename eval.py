"""What runs are worth: their numbers anew, two compared, parts pooled.

``python eval.py --run=RUN``, ``--compare A B``, ``--merge PART PART ...``
"""

import sys
from pathlib import Path

import tyro
from rich.console import Console

from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison
from meranet_jax.runs import merge, reader, report_text, verification
from meranet_jax.training import xla


def main(
    run: str | None = None,
    compare: tuple[str, str] | None = None,
    merge: tuple[str, ...] = (),
    data_dir: str | None = None,
    name: str | None = None,
) -> None:
    """Compute a run's numbers anew, compare two runs, or pool parts of one.

    Args:
      run: a run's folder; its numbers are computed from its predictions, and those from
        its weights and records.
      compare: two runs' folders; how much better the first is on the same clips.
      merge: the folders of parts of a run (--fold_shard), or of runs of other seeds; to
        be pooled in a folder beside them.
      data_dir: with --run: where the records are now, if they were moved.
      name: with --merge: of the folder. Default: that of the shards, without -shard.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    given = [bool(run), bool(compare), bool(merge)]
    if sum(given) != 1:
        raise UserError("Give one of --run=RUN, --compare A B, --merge PART PART ...")
    if data_dir is not None and not run:
        raise UserError("--data_dir goes with --run.")
    if name is not None and not merge:
        raise UserError("--name goes with --merge.")
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
    apart = verification.check_predictions(run, data_dir)
    console.print(
        f"Equal to {run.path / 'report.json'}; predicted anew from weights and "
        f"records, each clip has the same class, and no probability is further than "
        f"{apart:.1e} from predictions.csv."
    )


def _compare(first: reader.Run, second: reader.Run, console: Console) -> None:
    tested = [verification.tested(run) for run in (first, second)]
    titles = [f"{run.path}, {report_text.title(run)}" for run in (first, second)]
    console.print(comparison.describe(comparison.compare(*tested), *titles))


def _merge(parts: list[reader.Run], name: str | None, console: Console) -> None:
    path = merge.path_of(parts, name)
    console.print(report_text.describe(merge.merge(parts, path)))
    console.print(f"\nReport: {path / 'report.md'}")


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__.replace("``", ""), use_underscores=True)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
