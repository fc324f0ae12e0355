"""Objective classes, which group expressions by their action units.

Davison, Merghani and Yap (2018) defined seven classes for CASME II and SAMM. The
tables of several data sets have a column of them.
"""

import re

import numpy as np
import tensorflow_datasets as tfds

from datasets.source.cells import parse_frame_number
from meranet_jax.errors import DataError

# Headers of the column
HEADERS = ("Objective Classes", "Objective Class")

# The feature of a record; 0 if the table does not give the class.
FEATURE = {"objective_class": tfds.features.Scalar(np.int32)}

_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7}


def parse_objective_class(text: str) -> int:
    """Returns the objective class in a cell, 1 to 7; 0 if the cell is blank.

    Raises:
      DataError: if the cell has anything else.
    """
    numeral = re.sub(r"(?:class)?[\s_-]*", "", text.lower())
    if numeral in _ROMAN:
        return _ROMAN[numeral]
    try:
        number = parse_frame_number(numeral)
    except ValueError:
        number = -1
    if number is None:
        return 0
    if number not in _ROMAN.values():
        raise DataError(f"objective class {text!r} must be from 1 to 7, or blank")
    return number
