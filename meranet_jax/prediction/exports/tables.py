"""Tables of a prediction: CSV, BIDS and the challenges' CSV.

``cells`` says how numbers and text are written. A value that is missing is an empty
cell, and ``n/a`` in BIDS.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from meranet_jax import files
from meranet_jax.prediction import wording
from meranet_jax.prediction.exports import cells, columns
from meranet_jax.prediction.results import FoundFace, Prediction

# Types of the challenges: micro- and macro-expression
_MEGC_TYPES = {"micro": "me", "macro": "mae"}


def write_events_csv(prediction: Prediction, path: Path) -> None:
    """Writes a row for each candidate.

    Args:
      prediction: what was found.
      path: of the file, ``events.csv``.

    Raises:
      OSError: if it cannot be written.
    """
    of_events = columns.of_events(prediction)
    rows = [
        [column.value(event) for column in of_events] for event in prediction.events
    ]
    header = [cells.protected(column.name) for column in of_events]
    cells.write_csv(path, [header, *rows])


def write_frames_csv(prediction: Prediction, path: Path) -> None:
    """Writes what was measured of each face in each frame that was analysed.

    The first columns are those of OpenFace. A face has a row for each frame from the
    first to the last one in which it was seen, with ``success`` 0 where it was not; a
    frame outside of this for all faces has one row, whose ``face_id`` is 0.

    Args:
      prediction: what was found.
      path: of the file, ``frames.csv``.

    Raises:
      OSError: if it cannot be written.
    """
    regions = tuple(
        dict.fromkeys(
            name for face in prediction.faces for name in face.signals.regions
        )
    )
    box = [f"box_{side}" for side in ("left", "top", "right", "bottom")]
    motion = [f"motion_{name}" for name in regions]
    first = ["frame", "face_id", "timestamp", "confidence", "success"]
    header = [*first, *box, "head_speed", *motion]
    # Row by row: an hour of video has hundreds of megabytes of text.
    rows = _frame_rows(prediction, regions)
    cells.write_csv(path, itertools.chain([header], rows))


def write_bids(prediction: Prediction, path: Path) -> None:
    """Writes the events of the Brain Imaging Data Structure, and their description.

    Args:
      prediction: what was found.
      path: of the table, which must end in ``_events.tsv`` as BIDS demands; the
        description of its columns has the same name and ends in ``_events.json``.

    Raises:
      ValueError: if the path ends otherwise. ``events.tsv`` would have the description
        ``events.json``, which is another file of a prediction.
      OSError: if a file cannot be written.
    """
    if not path.name.endswith("_events.tsv"):
        raise ValueError(f"{path.name} does not end in _events.tsv, as BIDS demands")
    of_events = columns.of_events(prediction)
    by_name = {one.name: one for one in of_events if one.name != "type"}
    kind = columns.Column(
        "trial_type",
        "Length of the event. Most candidates in recordings of people are not "
        "micro-expressions.",
        lambda event: event.kind,
        levels=wording.KINDS,
    )
    ordered = [by_name.pop("onset"), by_name.pop("duration"), kind, *by_name.values()]
    lines = [[column.name for column in ordered]]
    for event in sorted(prediction.events, key=lambda one: one.onset.time):
        lines.append([column.value(event) or "n/a" for column in ordered])
    sidecar = {
        cells.one_line(column.name): columns.description(column) for column in ordered
    }
    with files.atomic_write(path) as part:
        # BIDS has no quotation marks, so a cell cannot contain a tab or a line break.
        text = "".join("\t".join(map(cells.one_line, line)) + "\n" for line in lines)
        part.write_text(text, encoding="utf-8", newline="")
    files.write_json(path.with_suffix(".json"), sidecar)


def write_megc(prediction: Prediction, path: Path) -> None:
    """Writes the intervals as the Micro-Expression Grand Challenge asks for them.

    Frame numbers are inclusive; the type is ``me`` of micro- and ``mae`` of
    macro-expressions.

    Args:
      prediction: what was found.
      path: of the file.

    Raises:
      OSError: if it cannot be written.
    """
    source = Path(wording.file_name(prediction.source))
    name = cells.protected(source.name if prediction.source.is_dir() else source.stem)
    rows = [
        [name, str(event.onset.frame), str(event.offset.frame), _MEGC_TYPES[event.kind]]
        for event in prediction.events
    ]
    cells.write_csv(path, [["vid", "pred_onset", "pred_offset", "type"], *rows])


def _frame_rows(
    prediction: Prediction, regions: Sequence[str]
) -> Iterator[Sequence[str]]:
    """Yields the rows of all frames, those of a frame in the order of the faces."""
    spans = [_span(face) for face in prediction.faces]
    places = [
        [
            face.signals.regions.index(name) if name in face.signals.regions else None
            for name in regions
        ]
        for face in prediction.faces
    ]
    nothing = [""] * (5 + len(regions))
    pairs = zip(prediction.numbers.tolist(), prediction.times.tolist(), strict=True)
    for index, (number, time) in enumerate(pairs):
        start = [str(number), "0", cells.text(time, cells.TIME)]
        shown = False
        for face, span, place in zip(prediction.faces, spans, places, strict=True):
            if index not in span:
                continue
            shown, signals = True, face.signals
            at = index - signals.first
            motion = signals.motion[at].tolist()
            yield [
                start[0],
                str(face.identity),
                start[2],
                cells.text(float(signals.confidence[at]), cells.PROBABILITY),
                str(int(signals.success[at])),
                *(cells.text(value, cells.PIXEL) for value in signals.box[at].tolist()),
                cells.text(float(signals.head_speed[at]), cells.LENGTH),
                *(
                    "" if column is None else cells.text(motion[column], cells.LENGTH)
                    for column in place
                ),
            ]
        if not shown:
            yield [*start, cells.text(0.0, cells.PROBABILITY), "0", *nothing]


def _span(face: FoundFace) -> range:
    """Returns the indices of the frames from the first to the last with the face."""
    signals = face.signals
    return range(signals.first, signals.first + len(signals.success))
