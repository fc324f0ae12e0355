"""Find faces and brief facial motion in videos, and say what it resembles.

``python predict.py VIDEO ...`` or ``python predict.py FOLDER --rate=200``
"""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import UserError, explain

with program.imports(__name__):
    import tyro
    from rich import progress
    from rich.console import Console

    from meranet_jax.prediction import (
        events_file,
        predicting,
        recogniser,
        report_text,
        wording,
        writer,
    )
    from meranet_jax.prediction.imported import ImportedEvent
    from meranet_jax.prediction.recogniser import Recogniser
    from meranet_jax.prediction.results import Event
    from meranet_jax.training import signals, xla
    from meranet_jax.video.stream import open_stream

# What is shown for each stage of the work
_STAGES = {
    "motion": "measuring {}",
    "recognition": "recognising {}, which begins slowly",
}


def main(
    videos: tyro.conf.Positional[tuple[str, ...]],
    run: str | None = None,
    calibration: str | None = None,
    output: str = "predictions",
    rate: float | None = None,
    face: int | None = None,
    events: str | None = None,
    pictures: int = 20,
    overwrite: bool = False,
    skip_finished: bool = False,
) -> None:
    """Find faces and brief facial motion in videos, and say what it resembles.

    Args:
      videos: Videos, or folders with the numbered images of one each.
      run: Run folder, which train.py has written, or weights file (.npz) of the
        recogniser. Default: the weights that ship with the package.
      calibration: File calibration.json that replaces that of the recogniser, such as
        one that eval.py --dataset=OTHER --calibrate has written.
      output: Folder of the results, with a folder for each video.
      rate: Frame rate in Hz of folders of images.
      face: Number of the only face to look at. Default: all faces.
      events: File with the onsets and offsets of your own events, which are recognised
        in place of a search: CSV, BORIS (.boris) or ELAN (.eaf).
      pictures: Number of candidates, the strongest first, that get pictures.
      overwrite: Replace results that exist, unless they were changed.
      skip_finished: Leave out videos that have results, as after an interruption.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True, stderr=True)
    if not videos or not all(videos):
        raise UserError("Name a video, or a folder with the images of one.")
    if pictures < 0:
        raise UserError(f"--pictures={pictures} must not be negative.")
    if face is not None and face < 1:
        raise UserError(f"--face={face}: faces are numbered from 1, as in report.md.")
    paths = [Path(video).expanduser() for video in videos]
    folders = [Path(output).expanduser() / n for n in writer.folder_names(paths)]
    wanted = [
        (path, folder)
        for path, folder in zip(paths, folders, strict=True)
        if not (skip_finished and writer.is_finished(folder))
    ]
    if skip_finished and len(wanted) < len(paths):
        print(f"{len(paths) - len(wanted)} of {len(paths)} recordings have results.")
    for _, folder in wanted:
        writer.check_folder(folder, overwrite)
    if events is not None and len(paths) > 1:
        raise UserError(
            f"--events={events} has the events of one recording, but there are "
            f"{len(paths)}. Predict them one after another."
        )
    imported = None
    if events is not None:
        imported = events_file.read(Path(events).expanduser(), paths[0])
    xla.configure()
    loaded = recogniser.load(run, calibration)
    failed = 0
    for path, folder in wanted:
        try:
            with writer.writing(folder, pictures, overwrite=overwrite) as files:
                _predict(path, folder, files, loaded, rate, face, imported, console)
        except (UserError, OSError) as error:
            failed += 1
            message = wording.printable(_message(path, error))
            print(f"error: {message}", file=sys.stderr)
            continue
        print(f"Results: {wording.printable(str(folder))}")
    if failed and len(paths) > 1:
        print(f"{failed} of {len(paths)} recordings have no result.", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _message(path: Path, error: UserError | OSError) -> str:
    """Returns what happened, with the recording in which it did."""
    text = explain(error)
    return text if text.startswith((path.name, str(path))) else f"{path}: {text}"


def _predict(
    path: Path,
    folder: Path,
    files: writer.FolderWriter,
    loaded: Recogniser,
    rate: float | None,
    face: int | None,
    imported: list[ImportedEvent] | None,
    console: Console,
) -> None:
    duration = open_stream(path, rate).duration
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        tasks = {
            stage: bar.add_task(
                text.format(wording.file_name(path)),
                total=duration if stage == "motion" else None,
            )
            for stage, text in _STAGES.items()
        }

        def measured(stage: str, seconds: float) -> None:
            if stage == "motion":
                bar.update(tasks[stage], completed=seconds)

        def choose(events: Sequence[Event]) -> Collection[int]:
            bar.update(tasks["motion"], total=1, completed=1)
            number = sum(map(predicting.is_recognised, events))
            bar.update(tasks["recognition"], total=number)
            return files.choose(events)

        def add(clip: predicting.RecognisedClip) -> None:
            files.add(clip)
            bar.advance(tasks["recognition"])

        prediction = predicting.predict(
            path,
            rate=rate,
            face=face,
            events=imported,
            recogniser=loaded,
            on_progress=measured,
            on_events=choose,
            on_clip=add,
        )
        for task in tasks.values():
            bar.update(task, total=1, completed=1)
        files.finish(prediction, folder.name)
    print(report_text.summary(prediction))


if __name__ == "__main__":
    signals.install_handlers()
    with program.run("finished recordings are kept"):
        tyro.cli(
            main,
            description=__doc__.replace("``", ""),
            use_underscores=True,
            config=(tyro.conf.DisallowNone,),  # --help would offer None as a value
        )
