"""TFDS records, opened with care: somebody else may have made them."""

import contextlib
import json
from pathlib import Path

from meranet_jax.errors import UserError

# Where the classes are that records may name.
_FEATURES = "tensorflow_datasets.core.features."
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")


def open_records(folder: Path):
    """What TFDS knows of the records, and the records.

    Raises:
      UserError: if they cannot be read.
    """
    # Here and not above: the model and the step run where TFDS is not installed.
    import tensorflow_datasets as tfds

    if not (Path(folder) / "dataset_info.json").is_file():
        raise UserError(
            f"No prepared records in {folder}. Write them with python -m "
            "datasets.prepare, or give their place with --data_dir=DIR."
        )
    _check_features(Path(folder) / "features.json")
    with damage_told(folder):
        builder = tfds.builder_from_directory(folder)
        return builder.info, builder.as_data_source(split="train")


def _check_features(file: Path) -> None:
    """Raises UserError if TFDS would import anything but its own to read records.

    It takes what ``features.json`` names for a module and imports it.
    """
    named = []

    def look(pairs):
        named.extend(v for k, v in pairs if k in _CLASS_KEYS and isinstance(v, str))

    with damage_told(file.parent):
        json.loads(file.read_text(), object_pairs_hook=look)
    if strangers := [name for name in named if not name.startswith(_FEATURES)]:
        raise UserError(
            f"{file} speaks of {strangers[0]}, which is none of TFDS's own features. "
            "These records are not from python -m datasets.prepare."
        )


@contextlib.contextmanager
def damage_told(folder: Path):
    """What TFDS and array_record raise of damaged files, whatever it is, as one."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"The records in {folder} are damaged ({type(error).__name__}: {error}). "
            "Delete that folder and prepare them again."
        ) from error
