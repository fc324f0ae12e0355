"""Long recordings of SMIC-E, of the high-speed camera."""

import dataclasses
import re
from collections.abc import Sequence

from datasets.source.annotations import Annotation, LeftOut
from datasets.source.cells import parse_frame_number
from datasets.source.columns import Columns
from datasets.source.long_recordings import LongRecordings
from datasets.source.releases import Release
from datasets.source.specification import Specification

_NAMES = {"ne": "negative", "po": "positive", "sur": "surprise"}

# Known errors of SMIC-HS-E_annotation.xlsx, by subject and clip
_WRONG_EMOTION = {("sub18", "s18_sur_03"): "negative"}
_WRONG_RANGE = {("sub01", "s1_ne_03"): "last", ("sub03", "s3_ne_20"): "first"}
_REPEATED_THIRD = frozenset({("sub09", "s9_sur_01")})
_SUBJECTS_WITH_WRONG_THIRD = frozenset({"sub18", "sub20"})


def _key(row: Annotation) -> tuple[str, str]:
    return row.subject, row.clip.lower()


def _interpret(row: Annotation) -> Annotation:
    """Corrects known errors; ``corrections`` says each."""
    corrections = list(row.corrections)
    if _WRONG_EMOTION.get(_key(row)) == row.emotion:
        right = _NAMES[row.clip.lower().split("_")[1]]
        corrections.append(
            f"the emotion is {row.emotion} in the table, a known error; {right}, as in "
            "its name, was used"
        )
        row = dataclasses.replace(row, emotion=right)
    bounds = {}
    for field, name in (("first", "FirstF"), ("last", "LastF")):
        text = row.extra_fields.get(field, "")
        try:
            number = parse_frame_number(text)
        except ValueError:
            number, problem = None, f"{name} is {text!r}"
        else:
            problem = ""
            if number is not None and (
                number > row.onset if field == "first" else number < row.onset
            ):
                side = "after" if field == "first" else "before"
                problem = f"{name} is {number}, {side} the onset {row.onset}"
                number = None
        if problem:
            known = ", a known error" if _WRONG_RANGE.get(_key(row)) == field else ""
            corrections.append(f"{problem}{known}; it was ignored")
        bounds[field] = "" if number is None else str(number)
    if _has_wrong_third(row):
        corrections.append(
            f"Onset3F is {row.extra_fields['onset3']!r}, a known error; the third "
            "interval was ignored"
        )
        bounds |= {"onset3": "", "offset3": ""}
    elif _key(row) in _REPEATED_THIRD and _repeats(row):
        corrections.append(
            "the third interval is the second again, a known error; it was ignored"
        )
        bounds |= {"onset3": "", "offset3": ""}
    return dataclasses.replace(
        row,
        extra_fields={**row.extra_fields, **bounds},
        corrections=tuple(corrections),
    )


def _has_wrong_third(row: Annotation) -> bool:
    """Returns whether ``Onset3F`` is no onset, in a row of which that is known."""
    if row.subject not in _SUBJECTS_WITH_WRONG_THIRD:
        return False
    if not row.extra_fields.get("onset3", ""):
        return False
    try:
        onset, offset = _pair(row, 3)
    except ValueError:
        return True
    previous = row.onset if row.offset is None else row.offset
    return onset is None or offset is None or not previous < onset <= offset


def _repeats(row: Annotation) -> bool:
    return all(
        row.extra_fields.get(f"{field}2") == row.extra_fields.get(f"{field}3")
        for field in ("onset", "offset")
    )


def _pair(row: Annotation, place: int) -> tuple[int | None, int | None]:
    """Returns onset and offset of the second or third interval of a row.

    Raises:
      ValueError: if a cell is not a frame number.
    """
    numbers = []
    for field in ("onset", "offset"):
        try:
            text = row.extra_fields.get(f"{field}{place}", "")
            numbers.append(parse_frame_number(text))
        except ValueError as error:
            raise ValueError(f"{field.capitalize()}{place}F: {error}") from None
    return numbers[0], numbers[1]


def _intervals(row: Annotation) -> Sequence[Annotation | LeftOut]:
    """Returns up to three intervals of a row."""
    found: list[Annotation | LeftOut] = [row]
    for place in (2, 3):
        reason = ""
        try:
            onset, offset = _pair(row, place)
        except ValueError as error:
            reason = str(error)
        else:
            if onset is None and offset is None:
                continue
            if onset is None:
                reason = f"Onset{place}F is missing, and Offset{place}F is {offset}"
            elif offset is None:
                reason = f"Offset{place}F is missing, and Onset{place}F is {onset}"
            elif offset < onset:
                reason = f"Offset{place}F, {offset}, lies before Onset{place}F, {onset}"
        if reason:
            found.append(LeftOut(row.table, row.number, row.subject, row.clip, reason))
        else:
            found.append(dataclasses.replace(row, onset=onset, offset=offset))
    return found


def _frame_range(row: Annotation) -> tuple[int | None, int | None]:
    first, last = (row.extra_fields.get(name, "") for name in ("first", "last"))
    return parse_frame_number(first), parse_frame_number(last)


LONG_RECORDINGS = LongRecordings(
    specification=Specification(
        name="smic",
        title="SMIC-E",
        frame_rate=100,
        homepage="https://www.oulu.fi/cmvs/node/41319",
        emotions=("negative", "positive", "surprise"),
        columns=Columns(
            headers={
                "subject": ("Subject",),
                "clip": ("Filename",),
                "onset": ("OnsetF",),
                "offset": ("OffsetF",),
                "onset2": ("Onset2F",),
                "offset2": ("Offset2F",),
                "onset3": ("Onset3F",),
                "offset3": ("Offset3F",),
                "first": ("FirstF",),
                "last": ("LastF",),
                "emotion": ("Emotion",),
            },
            optional=frozenset(
                {"onset2", "offset2", "onset3", "offset3", "first", "last"}
            ),
        ),
        tables=(
            (
                (
                    "SMIC-HS-E_annotation.xlsx",
                    re.compile(r"smic[\s_-]*hs[\s_-]*e(?![a-z])", re.IGNORECASE),
                ),
            ),
        ),
        releases=(
            Release(
                "SMIC-HS-E",
                (("SMIC-HS-E", "HS_long"),),
                full_recording=True,
            ),
        ),
        expected_layout="""\
The folder is expected to contain, up to three folders deep:

  SMIC-HS-E_annotation.xlsx        the table
  SMIC-HS-E/s03/s3_ne_03/image<number>.jpg""",
        interpret=_interpret,
    ),
    intervals=_intervals,
    frame_range=_frame_range,
    recordings=157,
    labelled=157,
    published={"micro": 166},
    remarks=("only the recordings of the high-speed camera (HS) are read",),
)
