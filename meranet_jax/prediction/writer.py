"""Folders of predictions: all files of a recording, or none."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from meranet_jax import files
from meranet_jax.analysis import overlays
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.prediction import pictures, predicting, report_text, result_files
from meranet_jax.prediction.pictures import Explainer
from meranet_jax.prediction.predicting import RecognisedClip
from meranet_jax.prediction.results import Event, Prediction

# The file that lists all others, with a digest of each, so that a folder with other or
# changed files is not replaced
_LIST = "files.json"


def folder_names(videos: Sequence[Path]) -> list[str]:
    """Returns the name of the folder of each recording.

    Raises:
      UserError: if two recordings would have the same folder.
    """
    # ``.`` and ``..`` have names, too.
    names = [Path(os.path.abspath(v)).name if v.is_dir() else v.stem for v in videos]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UserError(
                f"{videos[names.index(name)]} and {videos[index]} would both be "
                f"written to the folder {name}. Predict them one after another, with "
                "another --output each."
            )
    return names


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raises UserError if a folder exists and must be kept.

    With ``overwrite`` a folder is replaced if it has nothing but the files that were
    written into it, unchanged.
    """
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise UserError(
            f"{folder} exists. Choose another --output, replace it with --overwrite, "
            "or leave out recordings that have results with --skip_finished."
        )
    if (saved := _saved_digests(folder)) is None:
        raise UserError(
            f"{folder} has no {_LIST}, so that it is no folder of predictions, and is "
            "not overwritten. Choose another --output."
        )
    found = _digests(folder)
    other = [name for name in found if found[name] != saved.get(name)]
    if other:
        what = "was changed" if other[0] in saved else "was not written by predict.py"
        raise UserError(
            f"{folder} is not overwritten, since {other[0]} in it {what}"
            + (f", and {len(other) - 1} more files" if other[1:] else "")
            + ". Copy your files to another folder first, or choose another --output."
        )


def is_finished(folder: Path) -> bool:
    """Returns whether a folder has the results of a recording."""
    return _saved_digests(folder) is not None


def _saved_digests(folder: Path) -> dict[str, str] | None:
    """Returns the digest of each file that was written; None if that is unknown."""
    try:
        saved = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in saved["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each file in a folder but the list, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(
            path.read_bytes(), digest_size=16
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path != folder / _LIST
    }


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

    def choose(self, events: Sequence[Event]) -> Collection[int]:
        """Chooses the candidates that get pictures, and returns their numbers."""
        recognised = [e for e in events if predicting.is_recognised(e)]
        ordered = sorted(recognised, key=lambda event: -(event.strength or 0))
        self._shown = {event.number for event in ordered[: self._most]}
        return self._shown

    def add(self, clip: RecognisedClip) -> None:
        """Writes the pictures of a candidate, if it was chosen."""
        if clip.event.number not in self._shown:
            return
        if self._explainer is None:
            self._explainer = Explainer(clip.recogniser)
        maps = self._explainer.maps(clip) if self._explainer.explains else None
        path = self._part / report_text.strip_name(clip.event)
        path.parent.mkdir(exist_ok=True)
        figures.save(pictures.strip(clip, maps), path, vector=False)
        animation = pictures.animation(clip, maps)
        path = self._part / report_text.animation_name(clip.event)
        overlays.save_animation(animation, path)

    def finish(self, prediction: Prediction, name: str) -> None:
        """Writes all other files.

        Args:
          prediction: of the recording.
          name: of the recording, for the files that other programs open.
        """
        result_files.write(prediction, self._part, name)
        files.write_json(self._part / _LIST, {"files": _digests(self._part)})


@contextlib.contextmanager
def writing(
    folder: Path, shown: int, *, overwrite: bool = False
) -> Iterator[FolderWriter]:
    """Writes a folder of predictions, which appears when it is complete.

    Args:
      folder: of the recording.
      shown: number of candidates that get pictures.
      overwrite: whether one that exists is replaced; see ``check_folder``.

    Raises:
      UserError: if the folder exists at the end, and must be kept.
      OSError: if a file cannot be written; nothing of the folder is left then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that links to the video are right
    part, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{what}")
        for what in ("part", "old")
    )
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        yield FolderWriter(part, shown)
        check_folder(folder, overwrite)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    except OSError as error:
        # For messages: the temporary folder says nothing to the user.
        if isinstance(error.filename, str | Path):
            error.filename = str(error.filename).replace(str(part), str(folder), 1)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():  # interrupted between the two
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
