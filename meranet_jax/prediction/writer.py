"""Folders of predictions: all files of a recording, or none."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from meranet_jax.analysis import overlays
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.prediction import pictures, result_files
from meranet_jax.prediction.pictures import Explainer
from meranet_jax.prediction.predicting import RecognisedClip
from meranet_jax.prediction.results import Event, Prediction

# Folder of the pictures of candidates in the folder of a recording
_CANDIDATES = "candidates"


def folder_names(videos: Sequence[Path]) -> list[str]:
    """Returns the name of the folder of each recording.

    Raises:
      UserError: if two recordings would have the same folder.
    """
    names = [(v.absolute().name if v.is_dir() else v.stem) for v in videos]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UserError(
                f"{videos[names.index(name)]} and {videos[index]} would both be "
                f"written to the folder {name}. Predict them one after another, with "
                "another --output each."
            )
    return names


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raises UserError if a folder of predictions exists and must be kept."""
    if folder.exists() and not overwrite:
        raise UserError(
            f"{folder} exists. Choose another --output, or replace it with --overwrite."
        )
    if folder.exists() and not _is_of_predictions(folder):
        raise UserError(
            f"{folder} has no events.json, so that it is no folder of predictions, and "
            "is not overwritten. Choose another --output."
        )


def _is_of_predictions(folder: Path) -> bool:
    return folder.is_dir() and (folder / result_files.EVENTS_JSON).is_file()


class FolderWriter:
    """Writes the files of one recording to a temporary folder next to their own."""

    def __init__(self, part: Path, shown: int):
        """Prepares the folder.

        Args:
          part: the temporary folder.
          shown: number of candidates that get pictures, the strongest ones.
        """
        self._part, self._most = part, shown
        self._shown: set[int] = set()
        self._explainer: Explainer | None = None

    def choose(self, events: Sequence[Event]) -> None:
        """Chooses the candidates that get pictures."""
        ordered = sorted(events, key=lambda event: -(event.strength or 0))
        self._shown = {event.number for event in ordered[: self._most]}

    def add(self, clip: RecognisedClip) -> None:
        """Writes the pictures of a candidate, if it was chosen."""
        if clip.event.number not in self._shown:
            return
        if self._explainer is None:
            self._explainer = Explainer(clip.recogniser)
        maps = self._explainer.maps(clip) if self._explainer.explains else None
        path = self._part / _CANDIDATES / f"{clip.event.number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        figures.save(pictures.strip(clip, maps), path, vector=False)
        animation = pictures.animation(clip, maps)
        overlays.save_animation(animation, path.with_suffix(".gif"))

    def finish(self, prediction: Prediction, name: str) -> None:
        """Writes all other files.

        Args:
          prediction: of the recording.
          name: of the recording, for the files that other programs open.
        """
        result_files.write(prediction, self._part, name)


@contextlib.contextmanager
def writing(folder: Path, shown: int) -> Iterator[FolderWriter]:
    """Writes a folder of predictions, which appears when it is complete.

    Args:
      folder: of the recording; one that exists is replaced.
      shown: number of candidates that get pictures.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that links to the video are right
    part, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{what}")
        for what in ("part", "old")
    )
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield FolderWriter(part, shown)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():  # interrupted between the two
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
