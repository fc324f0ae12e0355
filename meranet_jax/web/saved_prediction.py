"""A prediction as a file, which a worker saves, and another one exports.

The file is an archive of arrays and JSON. A pickle would be shorter, and would run code
of whoever has written it when a folder of recordings is passed on.
"""

import json
from pathlib import Path

import cattrs
import numpy as np

from meranet_jax import files
from meranet_jax.errors import DataError
from meranet_jax.prediction.results import Prediction

# Version of the form of the file
_FORM = 1

# Name of everything but the arrays in the archive
_TEXT = "prediction"


def save(prediction: Prediction, path: Path) -> None:
    """Saves a prediction for ``load``.

    Raises:
      OSError: if it cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    converter = _converter()

    def keep(array: np.ndarray) -> str:
        name = f"array{len(arrays)}"
        arrays[name] = array
        return name

    converter.register_unstructure_hook(np.ndarray, keep)
    text = json.dumps({"form": _FORM, "prediction": converter.unstructure(prediction)})
    with files.atomic_write(path) as part, part.open("wb") as file:
        np.savez(file, **{_TEXT: np.array(text)}, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Prediction:
    """Loads a prediction.

    Raises:
      DataError: if the file is damaged, or of another version of this program.
      OSError: if it cannot be read.
    """
    try:
        # NumPy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            saved = json.loads(str(archive[_TEXT]))
            if saved["form"] != _FORM:
                raise ValueError(f"its form is {saved['form']}")
            converter = _converter()
            converter.register_structure_hook(
                np.ndarray, lambda name, _type: archive[name]
            )
            return converter.structure(saved["prediction"], Prediction)
    except OSError:
        raise
    except Exception as error:  # of NumPy, zipfile, json or cattrs
        raise DataError(
            f"{path.name} cannot be read: it is damaged, or of another version of this "
            f"program ({type(error).__name__}). Analyse the recording again"
        ) from error


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda text, _type: Path(text))
    return converter
