"""Evaluate finished runs: recompute, test otherwise, calibrate, compare or merge runs.

``python eval.py --run=RUN``, ``--run=RUN --dataset=OTHER``,
``--run=RUN --calibrate``, ``--run=RUN --rate=30``, ``--compare A B``,
``--merge PART PART ...``; for predictions of another program
``--predictions=FILE.csv --dataset=NAME``
"""

import functools
from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import UserError

with program.imports(__name__):
    import tyro
    from rich import progress
    from rich.console import Console

    from datasets.prepare import builder, records_of
    from meranet_jax.evaluation import comparison
    from meranet_jax.runs import (
        cross_dataset,
        cross_text,
        lower_rate,
        lower_rate_text,
        merge,
        reader,
        report_text,
        run_calibration,
        run_text,
        scoring,
        verification,
    )
    from meranet_jax.runs.cross_dataset import Target
    from meranet_jax.runs.layout import RunLayout
    from meranet_jax.training import signals, xla


def main(
    run: str | None = None,
    compare: tuple[str, str] | None = None,
    merge: tuple[str, ...] = (),
    predictions: str | None = None,
    data_dir: str | None = None,
    name: str | None = None,
    split: str | None = None,
    report: str | None = None,
    calibrate: bool = False,
    miss: float | None = None,
    rate: float | None = None,
    target: tyro.conf.OmitArgPrefixes[Target] = Target(),  # noqa: B008
) -> None:
    """Recompute a run, test it on another data set, compare two runs, or merge runs.

    Or score predictions of another program.

    Args:
      run: Run folder. Recomputes its results from its predictions, and its predictions
        from its weights and records.
      compare: Two run folders. Compares the runs on the same clips. In place of the
        second one: a file with predictions of another program (.csv) for the test clips
        and seeds of the first.
      merge: Folders of the shards of a run (--fold_shard), or of runs with different
        seeds. Merges them into a new run next to them.
      predictions: CSV file with predictions of another program for the clips of
        --dataset: columns clip and prediction, optionally seed, fold and p_CLASS for
        each class. Scores them as those of a run.
      data_dir: With --run: folder of the records, if they were moved. With --dataset:
        folder of the records of that data set. Default: that of the run, and
        ~/tensorflow_datasets with --predictions.
      name: With --merge: name of the new run. Default: the name of the shards without
        -shard.
      split: With --predictions: file split.json of a run, if only its test clips are
        predicted.
      report: With --predictions: JSON file to write the results to.
      calibrate: With --run: calibrates the probabilities of the run and its sets of
        plausible classes again; each run is calibrated when it is finished. With
        --run and --dataset: calibrates it on the other data set.
      miss: With --calibrate: probability that a set does not have the class of a clip
        of a new person. Default: 0.1.
      rate: With --run: frame rate in Hz. Tests the weights on the run's own test clips
        as a recording at this lower rate would have shown them.
      target: Another data set, on which to test the weights of a run, or the data set
        of --predictions.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    given = [bool(run), bool(compare), bool(merge), bool(predictions)]
    if sum(given) != 1:
        raise UserError(
            "Give one of --run=RUN, --compare A B, --merge PART PART ..., "
            "--predictions=FILE."
        )
    if data_dir is not None and not (run or predictions):
        raise UserError("--data_dir can only be used with --run or --predictions.")
    if name is not None and not merge:
        raise UserError("--name can only be used with --merge.")
    for flag, value in {"split": split, "report": report}.items():
        if value is not None and not predictions:
            raise UserError(f"--{flag} can only be used with --predictions.")
    if target.dataset is not None and not (run or predictions):
        raise UserError("--dataset can only be used with --run or --predictions.")
    if target.dataset is None and predictions:
        raise UserError("--predictions needs the data set of the clips: --dataset.")
    if target.dataset is None and (flags := target.given()):
        raise UserError(f"--{next(iter(flags))} can only be used with --dataset.")
    _check_uses(run, target.dataset, calibrate, miss, rate)
    if run and calibrate and target.dataset is None:
        _calibrate(_read(run), miss, console)
    elif run and rate is not None:
        _evaluate_at(_read(run), rate, data_dir, console)
    elif run and target.dataset is not None:
        tested = _read(run)
        _evaluate_on(tested, target, data_dir, console)
        if calibrate:
            _calibrate_on(tested, target.dataset, miss, console)
    elif run:
        _evaluate(_read(run), data_dir, console)
    elif compare and compare[0].endswith(".csv"):
        raise UserError(
            f"--compare {compare[0]} {compare[1]}: only the second can be a file with "
            "predictions; the first must be a run, which has the labels of the clips."
        )
    elif compare and compare[1].endswith(".csv"):
        _compare_file(_read(compare[0]), compare[1], console)
    elif compare:
        _compare(*map(_read, compare), console)
    elif predictions:
        _score(predictions, target, data_dir, split, report, console)
    else:
        _merge([_read(part) for part in merge], name, console)


def _check_uses(
    run: str | None,
    dataset: str | None,
    calibrate: bool,
    miss: float | None,
    rate: float | None,
) -> None:
    """Raises UserError unless the flags ask for one use of a run."""
    uses = {"dataset": dataset is not None, "calibrate": calibrate}
    for flag, used in {"calibrate": calibrate, "rate": rate is not None}.items():
        if used and not run:
            raise UserError(f"--{flag} can only be used with --run.")
    for flag, used in uses.items():
        if run and used and rate is not None:
            raise UserError(f"--rate and --{flag} cannot be used together. Give one.")
    if miss is not None and not calibrate:
        raise UserError("--miss can only be used with --calibrate.")


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


def _evaluate_on(
    run: reader.Run, target: Target, data_dir: str | None, console: Console
) -> None:
    _check_datasets(target)
    xla.configure()
    track = functools.partial(
        progress.track,
        description="models",
        console=console,
        disable=not console.is_terminal,
    )
    report = cross_dataset.evaluate(
        run, target, records_of, data_dir=data_dir, track=track
    )
    console.print(cross_text.describe(report))
    console.print(f"\nReport: {run.layout.cross(target.dataset).report_text}")


def _calibrate(run: reader.Run, miss: float | None, console: Console) -> None:
    verification.check_report(run)
    made = run_calibration.calibrate(
        run,
        verification.read_predictions(run),
        run_calibration.DEFAULT_MISS if miss is None else miss,
    )
    console.print(run_calibration.describe(made))
    console.print(f"\nCalibration: {run.layout.calibration}")


def _calibrate_on(
    run: reader.Run, dataset: str, miss: float | None, console: Console
) -> None:
    file, made = run_calibration.calibrate_on(
        run, dataset, run_calibration.DEFAULT_MISS if miss is None else miss
    )
    console.print(run_calibration.describe(made))
    console.print(f"\nCalibration: {file}")


def _evaluate_at(
    run: reader.Run, rate: float, data_dir: str | None, console: Console
) -> None:
    xla.configure()
    report = lower_rate.evaluate(run, rate, data_dir=data_dir)
    console.print(lower_rate_text.describe(report))
    console.print(f"\nReport: {run.layout.lower_rate(rate).report_text}")


def _check_datasets(target: Target) -> None:
    for dataset in target.dataset.split(","):
        builder(dataset.strip())  # raises if it does not exist


def _score(
    predictions: str,
    target: Target,
    data_dir: str | None,
    split: str | None,
    report: str | None,
    console: Console,
) -> None:
    _check_datasets(target)
    path = None if report is None else Path(report).expanduser()
    if path is not None:
        scoring.check_report_path(path)
    scored = scoring.score(
        Path(predictions).expanduser(),
        target,
        records_of,
        data_dir=data_dir,
        split=split,
    )
    console.print(scoring.describe(scored))
    if path is not None:
        scoring.write(scored, path)
        console.print(f"\nReport: {path}")


def _compare(first: reader.Run, second: reader.Run, console: Console) -> None:
    both = [verification.read_predictions(run) for run in (first, second)]
    titles = [f"{run.path}, {run_text.title(run)}" for run in (first, second)]
    console.print(comparison.describe(comparison.compare(*both), *titles))


def _compare_file(run: reader.Run, file: str, console: Console) -> None:
    predicted = scoring.match_run(Path(file).expanduser(), run)
    titles = [
        f"{run.path}, {run_text.title(run)}",
        f"{file}, predictions of another program",
    ]
    compared = comparison.compare(verification.read_predictions(run), predicted)
    console.print(comparison.describe(compared, *titles))
    console.print(scoring.UNKNOWN)


def _merge(parts: list[reader.Run], name: str | None, console: Console) -> None:
    path = merge.merged_path(parts, name)
    console.print(report_text.describe(merge.merge(parts, path)))
    console.print(f"\nReport: {RunLayout(path).report_text}")


if __name__ == "__main__":
    signals.install_handlers()
    with program.run():
        tyro.cli(
            main,
            description=__doc__.replace("``", ""),
            use_underscores=True,
            config=(tyro.conf.DisallowNone,),  # --help would offer None as a value
        )
