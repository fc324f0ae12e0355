"""Objective classes, which group expressions by their action units.

Davison, Merghani and Yap (2018) defined seven classes for CASME II and SAMM. The
tables of several data sets have a column of them.
"""

import dataclasses
import re

import numpy as np
import tensorflow_datasets as tfds

from datasets.source.annotations import Annotation
from datasets.source.cells import parse_frame_number
from meranet_jax.errors import DataError

# Name of the column, and of the feature of a record
FIELD = "objective_class"
# Headers of the column
HEADERS = ("Objective Classes", "Objective Class")

# The feature of a record; 0 if the table does not give the class.
FEATURE = {FIELD: tfds.features.Scalar(np.int32)}

_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7}

# "class", and what separates it from the number. A hyphen directly before a number is
# its sign: -1 marks it as missing.
_WORD = re.compile(r"class(?:[_-]|\s*[_-](?=\s))?\s*")


def parse_objective_class(text: str) -> int:
    """Returns the objective class in a cell, 1 to 7.

    0 if the cell is blank, is 0 or marks the class as missing.

    Raises:
      DataError: if the cell has anything else.
    """
    numeral = _WORD.sub("", text.lower(), count=1).strip()
    if numeral in _ROMAN:
        return _ROMAN[numeral]
    try:
        number = parse_frame_number(numeral) or 0
    except ValueError:
        number = -1
    if number not in range(8):
        raise DataError(f"objective class {text!r} must be from 1 to 7, or blank")
    return number


def interpret(row: Annotation) -> Annotation:
    """Replaces the text of the objective class by its number.

    Another label of the clip is no reason to lose it: if the text is no class, the
    number is 0, with a note.
    """
    written = row.extra_fields.get(FIELD, "")
    corrections = row.corrections
    try:
        number = parse_objective_class(written)
    except DataError:
        number = 0
        corrections += (f"the objective class {written!r} is unknown; 0 was used",)
    return dataclasses.replace(
        row,
        extra_fields={**row.extra_fields, FIELD: str(number)},
        corrections=corrections,
    )


def features(row: Annotation) -> dict:
    """Returns the feature of a row that ``interpret`` has returned."""
    return {FIELD: int(row.extra_fields[FIELD])}
