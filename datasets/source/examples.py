"""Conversion of the expressions in a local copy to records."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from datasets.parallel import parallel_map
from datasets.source.annotations import Annotation, LeftOut
from datasets.source.expressions import (
    APEX_NOTES,
    Expression,
    Note,
    find_expression,
)
from datasets.source.local_copy import LocalCopy
from datasets.source.specification import LocalCopyConfig, Sizes
from meranet_jax.errors import DataError
from meranet_jax.video import apex, faces, sampling
from meranet_jax.video.frames import Recording
from meranet_jax.video.images import resize

# Kinds of notes on changes of the picture
CHANGE_NOTES = (
    "motionless",
    "brightness jumps",
    "repeated frames",
    "sudden changes",
    "isolated changes",
)

# Change of the median grey level between two frames of a clip that is reported. An
# expression hardly changes it.
_BRIGHTNESS_JUMP = 8

# Changes that are reported, in grey levels: of a part of the face in a single frame,
# and of many pixels at once. In 324 clips of generated faces a part changed by 10 at
# most, and 10 % of the pixels.
_BLOCK = 8  # pixels
_ISOLATED = 20
_LARGE, _SHARE = 25, 0.2
# If frames between them are missing
_SHARE_OF_DISTANT = 0.5


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
        expression = find_expression(copy.release, row, config.apex)
        # The middle one of three images is the apex, and no other can be.
        spotted = config.apex == "spotted" and not expression.key_frames_only
        if expression.apex_estimated and spotted:
            expression = _with_spotted_apex(copy, config, expression)
        record, notes = _record(copy, config, row, expression)
    except DataError as error:
        return Example(clip_id, row, None, str(error), expression=expression)
    record = {"clip_id": clip_id, **record}
    return Example(clip_id, row, record, None, notes, expression)


def _with_spotted_apex(
    copy: LocalCopy, config: LocalCopyConfig, expression: Expression
) -> Expression:
    """Returns an expression whose apex is the frame that has moved most.

    It keeps the middle, with a note, if the frames do not show the apex.
    """
    run = expression.run
    numbers = [n for n in run.locations if expression.onset <= n <= expression.offset]
    face = None
    if copy.crop == "detect":
        face = _find_face(run, numbers, config.margin)
    images = (
        image if face is None else face.apply(image) for _, image in run.read(numbers)
    )
    index = apex.spot(resize(image, config.size) for image in images)
    estimates = [n for n in expression.notes if n.kind in APEX_NOTES]
    others = [n for n in expression.notes if n.kind not in APEX_NOTES]
    if index is None:
        why = "nothing moves in it"
        if len(numbers) < apex.SHORTEST:
            why = f"its {len(numbers)} frames are too few to spot it"
        kept = [Note(n.kind, f"{n.text}, since {why}") for n in estimates]
        return dataclasses.replace(expression, notes=(*others, *kept))
    text = (
        f"no usable apex is given; frame {numbers[index]}, which differs most from the "
        "onset, was used"
    )
    return dataclasses.replace(
        expression, apex=numbers[index], notes=(*others, Note("apex spotted", text))
    )


def _record(
    copy: LocalCopy, config: LocalCopyConfig, row: Annotation, expression: Expression
) -> tuple[dict[str, object], tuple[Note, ...]]:
    run = expression.run
    notes = list(expression.notes)
    frame_rate = copy.release.release.frame_rate or copy.specification.frame_rate
    if frame_rate is None and run.video is not None:
        frame_rate = run.video.frame_rate
    numbers = sampling.clip_frame_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=expression.onset,
        apex=expression.apex,
        offset=expression.offset,
        first=run.first,
        last=run.last,
        step=config.step(frame_rate),
    )
    key_numbers = (expression.onset, expression.apex)
    # The frame on disk that is used for each number.
    frame_of = {n: run.nearest(n) for n in (*numbers.tolist(), *key_numbers)}
    nearest = [frame_of[number] for number in numbers.tolist()]
    bridged = sorted(n for n, m in frame_of.items() if n != m)
    if bridged and not expression.key_frames_only:
        notes.append(
            Note(
                "missing frames bridged",
                f"missing: {', '.join(map(str, bridged))}; the nearest frame was used",
            )
        )
    face = None
    if copy.crop == "detect":
        face = _find_face(run, sorted(set(nearest)), config.margin)
    images, sizes = {}, {}
    for number, image in run.read(frame_of.values()):
        sizes[number] = image.shape[1::-1]
        images[number] = resize(
            image if face is None else face.apply(image), config.size
        )
    notes += _size_notes(sizes, config.sizes)
    onset_frame, apex_frame = (images[frame_of[number]] for number in key_numbers)
    clip = np.stack([images[number] for number in nearest])
    if config.sampling == "tim":
        clip = sampling.interpolate(clip, config.frames)
    if len(nearest) > 1 and not expression.key_frames_only:
        notes += _change_notes(images)
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
        "frame_rate": frame_rate or 0.0,
        "key_frames_only": expression.key_frames_only,
        "face": np.zeros(4, np.float32) if face is None else face.as_array(),
        **copy.specification.extra_features(row),
    }
    return record, tuple(notes)


def _size_notes(
    sizes: Mapping[int, tuple[int, int]], permitted: Sizes
) -> Iterator[Note]:
    """Yields a note if frames differ in size.

    Args:
      sizes: width and height of each frame, by number.
      permitted: see ``LocalCopyConfig.sizes``.

    Raises:
      DataError: if frames differ in size and must not.
    """
    numbers = collections.defaultdict(list)
    for number, size in sorted(sizes.items()):
        numbers[size].append(number)
    if len(numbers) == 1:
        return
    found = ", ".join(
        f"{width} x {height} ({len(some)} frames, the first is {some[0]})"
        for (width, height), some in numbers.items()
    )
    if permitted == "same":
        raise DataError(
            f"its frames differ in size: {found}. Resized each by itself they would "
            "move although the face does not. Crop all frames of a clip by the same "
            "rectangle, or choose --sizes=any"
        )
    yield Note("frames of several sizes", f"its frames differ in size: {found}")


def _change_notes(images: Mapping[int, np.ndarray]) -> Iterator[Note]:
    """Yields notes if frames of a clip do not change, or change more than a face does.

    Args:
      images: the frames as in the record, uint8 [H, W, 3], by number.
    """
    numbers = sorted(images)
    first = images[numbers[0]]
    if all((images[number] == first).all() for number in numbers):
        used = f"the frames used, {numbers[0]} to {numbers[-1]}, are all"
        if len(numbers) == 1:
            used = f"only frame {numbers[0]} is used, always"
        yield Note("motionless", f"{used} the same picture")
        return
    changes = {
        pair: _change(images[pair[0]], images[pair[1]])
        for pair in itertools.pairwise(numbers)
    }
    before, after = max(changes, key=lambda pair: abs(changes[pair]))
    if abs(change := changes[before, after]) >= _BRIGHTNESS_JUMP:
        yield Note(
            "brightness jumps",
            f"from frame {before} to frame {after} the grey level of most pixels "
            f"changes by {change:+.0f}",
        )
    same = sum((images[a] == images[b]).all() for a, b in changes)
    if same:
        yield Note(
            "repeated frames",
            f"{same} of the {len(numbers)} frames used are the same picture as the one "
            "before",
        )
    yield from _sudden_changes(images, numbers)


def _sudden_changes(
    images: Mapping[int, np.ndarray], numbers: Sequence[int]
) -> Iterator[Note]:
    """Yields notes on frames that differ from their neighbours as no face does.

    Such as a frame that is damaged in places or of another clip, and frames that are
    cropped or mirrored unlike those before.
    """
    differences = {
        pair: cv2.absdiff(images[pair[0]], images[pair[1]]).max(-1)
        for pair in itertools.pairwise(numbers)
    }
    usual_step = np.median(np.diff(numbers))
    shares = {
        (one, other): float((difference > _LARGE).mean())
        / (_SHARE_OF_DISTANT if other - one > 2 * usual_step else _SHARE)
        for (one, other), difference in differences.items()
    }
    before, after = max(shares, key=lambda pair: shares[pair])
    if shares[before, after] > 1:
        share = 100 * float((differences[before, after] > _LARGE).mean())
        yield Note(
            "sudden changes",
            f"from frame {before} to frame {after}, {share:.0f} % of the pixels change "
            f"by more than {_LARGE} grey levels",
        )
    isolated = {}
    for one, number, other in zip(numbers, numbers[1:], numbers[2:], strict=False):
        to_neighbours = np.minimum(
            _in_blocks(differences[one, number]), _in_blocks(differences[number, other])
        )
        between = _in_blocks(cv2.absdiff(images[one], images[other]).max(-1))
        isolated[number] = float((to_neighbours - between).max())
    number = max(isolated, key=lambda n: isolated[n], default=None)
    if number is not None and isolated[number] > _ISOLATED:
        yield Note(
            "isolated changes",
            f"a part of frame {number} differs by {isolated[number]:.0f} grey levels "
            "from the frames before and after it that are used, as damage or a fast "
            "blink does",
        )


def _in_blocks(difference: np.ndarray) -> np.ndarray:
    """Averages [H, W] over blocks of pixels, float32."""
    height, width = (max(1, n // _BLOCK) for n in difference.shape)
    return cv2.resize(
        difference.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
    )


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Returns the median change of grey level, without borders that stay black."""
    lit = np.maximum(before, after) >= _BRIGHTNESS_JUMP
    if not lit.any():
        return 0.0
    # The median: motion changes some pixels, light changes most.
    return float(np.median(after[lit].astype(np.int16) - before[lit]))


def _find_face(run: Recording, numbers: Sequence[int], margin: float) -> faces.FaceCrop:
    """Returns the face crop, from some of these frames, evenly spaced."""
    return faces.locate_face(dict(run.read(faces.looked_at(numbers))), margin)
