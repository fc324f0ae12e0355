"""The expressions of a copy, each made into a record or a reason."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from datasets.parallel import in_parallel
from datasets.source.annotations import Annotation, LeftOut
from datasets.source.expressions import Expression, Note, find_expression
from datasets.source.local_copy import Copy
from datasets.source.specification import CopyConfig
from meranet_jax.errors import DataError
from meranet_jax.video import faces, sampling
from meranet_jax.video.frames import Recording, resize

# Frames of a clip in which a face is looked for.
_FACES = 5


@dataclasses.dataclass(frozen=True)
class Example:
    """What an expression became: a record, or a reason why it is none.

    Attributes:
      clip_id: names the expression in the data set.
      row: what the table says of it.
      record: its features; None if there is a reason.
      reason: why it is left out; None if there is a record.
      notes: what was unusual.
      expression: where it was found; None if it was not.
    """

    clip_id: str
    row: Annotation
    record: dict | None
    reason: str | None
    notes: tuple[Note, ...] = ()
    expression: Expression | None = None

    def left_out(self) -> LeftOut:
        """The line of a report, for one that has a reason."""
        row = self.row
        return LeftOut(row.table, row.number, row.subject, row.clip, self.reason)


def examples(
    copy: Copy, config: CopyConfig, workers: int | None = None
) -> Iterator[Example]:
    """Every expression's example, in the order of the table.

    Args:
      copy: as opened with the same configuration.
      config: how a clip is made.
      workers: threads that decode, look for faces and resize; None takes one a core.
        The result does not hang on it.
    """
    return in_parallel(
        lambda item: make_example(copy, config, *item), copy.rows, workers
    )


def make_example(
    copy: Copy, config: CopyConfig, clip_id: str, row: Annotation
) -> Example:
    """What one expression becomes."""
    expression = None
    try:
        expression = find_expression(copy.layout, row)
        record, notes = _record(copy, config, row, expression)
    except DataError as error:
        return Example(clip_id, row, None, str(error), expression=expression)
    record = {"clip_id": clip_id, **record}
    return Example(clip_id, row, record, None, notes, expression)


def _record(
    copy: Copy, config: CopyConfig, row: Annotation, expression: Expression
) -> tuple[dict[str, object], tuple[Note, ...]]:
    run = expression.run
    notes = list(expression.notes)
    numbers = sampling.clip_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=expression.onset,
        apex=expression.apex,
        offset=expression.offset,
        first=run.first,
        last=run.last,
    )
    taken = [run.nearest(number) for number in numbers.tolist()]
    bridged = sorted(
        {n for n, t in zip(numbers.tolist(), taken, strict=True) if n != t}
    )
    if bridged:
        notes.append(
            Note(
                "missing frames bridged",
                f"missing: {', '.join(map(str, bridged))}; the nearest frame was taken",
            )
        )
    face = None
    if copy.crop == "detect":
        face = _find_face(run, sorted(set(taken)), config.margin)
    images = {
        number: resize(image if face is None else face.cut(image), config.size)
        for number, image in run.frames(taken)
    }
    clip = np.stack([images[number] for number in taken])
    if config.sampling == "tim":
        clip = sampling.interpolate(clip, config.frames)
    record = {
        "clip": clip,
        "subject": row.subject,
        "emotion": row.emotion,
        "onset": expression.onset,
        "apex": expression.apex,
        "offset": expression.offset,
        "apex_estimated": expression.apex_estimated,
        "offset_estimated": expression.offset_estimated,
        "action_units": row.action_units,
        "face": np.zeros(4, np.float32) if face is None else face.as_array(),
        **copy.facts.beside(row),
    }
    return record, tuple(notes)


def _find_face(run: Recording, numbers: Sequence[int], margin: float) -> faces.Square:
    """The square about the face, from some of these frames, evenly spaced."""
    places = sampling.uniform_numbers(
        0, len(numbers) - 1, frames=min(_FACES, len(numbers))
    )
    looked_at = run.frames(numbers[place] for place in places.tolist())
    return faces.locate(dict(looked_at), margin)
