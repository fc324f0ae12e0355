"""Conversion of the expressions in a local copy to records."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from datasets.parallel import parallel_map
from datasets.source.annotations import Annotation, LeftOut
from datasets.source.expressions import Expression, Note, find_expression
from datasets.source.local_copy import LocalCopy
from datasets.source.specification import LocalCopyConfig
from meranet_jax.errors import DataError
from meranet_jax.video import faces, sampling
from meranet_jax.video.frames import Recording, resize

# Number of a clip's frames in which the face is detected.
_DETECTION_FRAMES = 5


@dataclasses.dataclass(frozen=True)
class Example:
    """An expression's record, or the reason why there is none.

    Attributes:
      clip_id: identifies the expression in the data set.
      row: the row of the annotation table.
      record: features of the record; None if the expression is left out.
      reason: why the expression is left out; None if there is a record.
      notes: notes on what was unusual.
      expression: the expression's frames; None if they were not found.
    """

    clip_id: str
    row: Annotation
    record: dict | None
    reason: str | None
    notes: tuple[Note, ...] = ()
    expression: Expression | None = None

    def left_out(self) -> LeftOut:
        """Returns the report's entry for an expression that is left out."""
        row = self.row
        return LeftOut(row.table, row.number, row.subject, row.clip, self.reason)


def examples(
    copy: LocalCopy, config: LocalCopyConfig, workers: int | None = None
) -> Iterator[Example]:
    """Yields the example of each selected expression, in the order of the table.

    Args:
      copy: the local copy, opened with the same configuration.
      config: how clips are made.
      workers: number of threads that decode, detect faces and resize; None uses one per
        core. It does not affect the result.
    """
    return parallel_map(
        lambda item: make_example(copy, config, *item), copy.rows, workers
    )


def make_example(
    copy: LocalCopy, config: LocalCopyConfig, clip_id: str, row: Annotation
) -> Example:
    """Makes the record of one expression, or gives the reason why there is none."""
    expression = None
    try:
        expression = find_expression(copy.release, row)
        record, notes = _record(copy, config, row, expression)
    except DataError as error:
        return Example(clip_id, row, None, str(error), expression=expression)
    record = {"clip_id": clip_id, **record}
    return Example(clip_id, row, record, None, notes, expression)


def _record(
    copy: LocalCopy, config: LocalCopyConfig, row: Annotation, expression: Expression
) -> tuple[dict[str, object], tuple[Note, ...]]:
    run = expression.run
    notes = list(expression.notes)
    numbers = sampling.clip_frame_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=expression.onset,
        apex=expression.apex,
        offset=expression.offset,
        first=run.first,
        last=run.last,
    )
    key_numbers = (expression.onset, expression.apex)
    # The frame on disk that is used for each number.
    frame_of = {n: run.nearest(n) for n in (*numbers.tolist(), *key_numbers)}
    nearest = [frame_of[number] for number in numbers.tolist()]
    bridged = sorted(n for n, m in frame_of.items() if n != m)
    if bridged:
        notes.append(
            Note(
                "missing frames bridged",
                f"missing: {', '.join(map(str, bridged))}; the nearest frame was used",
            )
        )
    face = None
    if copy.crop == "detect":
        face = _find_face(run, sorted(set(nearest)), config.margin)
    images = {
        number: resize(image if face is None else face.apply(image), config.size)
        for number, image in run.read(frame_of.values())
    }
    onset_frame, apex_frame = (images[frame_of[number]] for number in key_numbers)
    clip = np.stack([images[number] for number in nearest])
    if config.sampling == "tim":
        clip = sampling.interpolate(clip, config.frames)
    record = {
        "clip": clip,
        "onset_frame": onset_frame,
        "apex_frame": apex_frame,
        "subject": row.subject,
        "emotion": row.emotion,
        "onset": expression.onset,
        "apex": expression.apex,
        "offset": expression.offset,
        "apex_estimated": expression.apex_estimated,
        "offset_estimated": expression.offset_estimated,
        "action_units": row.action_units,
        "face": np.zeros(4, np.float32) if face is None else face.as_array(),
        **copy.specification.extra_features(row),
    }
    return record, tuple(notes)


def _find_face(run: Recording, numbers: Sequence[int], margin: float) -> faces.FaceCrop:
    """Returns the face crop, from some of these frames, evenly spaced."""
    indices = sampling.uniform_frame_numbers(
        0, len(numbers) - 1, frames=min(_DETECTION_FRAMES, len(numbers))
    )
    images = run.read(numbers[index] for index in indices.tolist())
    return faces.locate_face(dict(images), margin)
