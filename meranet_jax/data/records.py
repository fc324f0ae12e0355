"""Opening and checking of TFDS records, whose files may come from another person."""

import contextlib
import json
from pathlib import Path

from meranet_jax.errors import UserError

# Module of the classes that features.json may name, and the keys of class names.
_FEATURES = "tensorflow_datasets.core.features."
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")


def open_records(folder: Path):
    """Opens the records of a prepared data set.

    Args:
      folder: where ``python -m datasets.prepare`` wrote them.

    Returns:
      The ``tfds.core.DatasetInfo`` and the data source of all records.

    Raises:
      UserError: if they cannot be read.
    """
    # Imported here, since networks and their training work without TFDS.
    import tensorflow_datasets as tfds

    if not (Path(folder) / "dataset_info.json").is_file():
        raise UserError(
            f"No prepared records in {folder}. Write them with python -m "
            "datasets.prepare, or give their folder with --data_dir=DIR."
        )
    _check_features(Path(folder) / "features.json")
    with report_damage(folder):
        builder = tfds.builder_from_directory(folder)
        return builder.info, builder.as_data_source(split="train")


def _check_features(file: Path) -> None:
    """Raises UserError if TFDS would import a module that is not its own.

    TFDS imports the module of each class that ``features.json`` names.
    """
    named = []

    def collect(pairs):
        named.extend(v for k, v in pairs if k in _CLASS_KEYS and isinstance(v, str))

    with report_damage(file.parent):
        json.loads(file.read_text(), object_pairs_hook=collect)
    if foreign := [name for name in named if not name.startswith(_FEATURES)]:
        raise UserError(
            f"{file} names the class {foreign[0]}, which is not a feature of TFDS. "
            "Use records that python -m datasets.prepare wrote."
        )


@contextlib.contextmanager
def report_damage(folder: Path):
    """Raises any exception of TFDS or array_record in the block as UserError."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"The records in {folder} are damaged ({type(error).__name__}: {error}). "
            "Delete that folder and prepare them again."
        ) from error
