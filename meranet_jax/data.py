"""Records to arrays, and what happens to a clip before the network sees it."""

import contextlib
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from meranet_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of an experiment, in the order of their ids.

    Attributes:
      clips: uint8 [N, T, H, W, 3].
      labels: int32 [N], indices into ``classes``.
      clip_ids: N names, each once.
      subjects: N names.
      classes: the emotions told apart.
      left_out: how many of the data set's clips are not here, by reason.
    """

    clips: np.ndarray
    labels: np.ndarray
    clip_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    classes: tuple[str, ...]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.clip_ids)


def load(
    folder: Path,
    *,
    classes: tuple[str, ...],
    min_frames: int,
    size: int,
    label: str = "emotion",
) -> Clips:
    """Read the records of a prepared data set.

    Args:
      folder: where ``python -m datasets.prepare`` wrote them.
      classes: emotions to keep.
      min_frames: leave out expressions of fewer frames, onset to offset.
      size: H and W of the result; clips are averaged down by a whole number.
      label: the feature whose values are told apart.

    Raises:
      UserError: if the records cannot be read, they have no such label, an emotion is
        not the data set's, a class has no clip, or the size does not divide that of the
        records.
    """
    # Here and not above: the model and the step run where TFDS is not installed.
    import tensorflow_datasets as tfds

    if not (Path(folder) / "dataset_info.json").is_file():
        raise UserError(
            f"No prepared records in {folder}. Write them with python -m "
            "datasets.prepare, or give their place with --data_dir=DIR."
        )
    with _damage_told(folder):
        builder = tfds.builder_from_directory(folder)
        source = builder.as_data_source(split="train")
    names = _label_names(builder.info, label)
    recorded = builder.info.features["clip"].shape[1]
    if recorded % size:
        sizes = [n for n in range(16, recorded + 1) if recorded % n == 0]
        raise UserError(
            f"--size={size}: the records are {recorded} x {recorded}; choose one of "
            f"{', '.join(map(str, sizes))}."
        )

    kept, left_out, emotions = [], {}, set(names)
    if unrecorded := len((builder.info.metadata or {}).get("left_out", [])):
        left_out["no record of it; python -m datasets.prepare lists why"] = unrecorded
    for index in range(len(source)):
        with _damage_told(folder):
            record = source[index]
        emotion = names[record[label]] if names else record[label].decode()
        emotions.add(emotion)
        if emotion not in classes:
            reason = f"{emotion}, not among the classes"
        elif record["offset"] - record["onset"] + 1 < min_frames:
            reason = f"fewer than {min_frames} frames"
        else:
            clip_id, subject = record["clip_id"].decode(), record["subject"].decode()
            clip = _average_down(record["clip"], recorded // size)
            kept.append((clip_id, subject, classes.index(emotion), clip))
            continue
        left_out[reason] = left_out.get(reason, 0) + 1
    if unknown := [name for name in classes if name not in emotions]:
        raise UserError(
            f"--classes: the {label} of {builder.info.name} is never "
            f"{' or '.join(unknown)}; it is {', '.join(sorted(emotions))}."
        )
    kept.sort(key=lambda record: record[0])
    for index, name in enumerate(classes):
        if not any(label == index for _, _, label, _ in kept):
            raise UserError(
                f"No clip of {name} in {folder}"
                + (f" (left out: {left_out})." if left_out else ".")
            )
    clip_ids, subjects, labels, clips = zip(*kept, strict=True)
    return Clips(
        np.stack(clips),
        np.array(labels, np.int32),
        clip_ids,
        subjects,
        tuple(classes),
        left_out,
    )


def _label_names(info, label: str) -> list[str]:
    """The label's values by number; none where they are recorded as text.

    Raises:
      UserError: if there is no such label.
    """
    labels = [name for name in info.features if name.endswith("emotion")]
    if label not in labels:
        raise UserError(
            f"--label={label}: {info.name} has no such label; it has "
            f"{', '.join(labels)}."
        )
    return list(getattr(info.features[label], "names", []))


@contextlib.contextmanager
def _damage_told(folder: Path):
    """What TFDS and array_record raise of damaged files, whatever it is, as one."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"The records in {folder} are damaged ({type(error).__name__}: {error}). "
            "Delete that folder and prepare them again."
        ) from error


def _average_down(clip: np.ndarray, factor: int) -> np.ndarray:
    """[T, H, W, 3] -> [T, H / factor, W / factor, 3], each pixel a block's mean."""
    if factor == 1:
        return clip
    frames, height, width, channels = clip.shape
    blocks = clip.reshape(
        frames, height // factor, factor, width // factor, factor, channels
    )
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def normalise(clips: jax.Array) -> jax.Array:
    """Subtract each clip's mean and divide by its deviation, by channel (section 4.2).

    Args:
      clips: uint8 [B, T, H, W, 3].

    Returns:
      float32 of the same shape. A channel without any variation becomes zero.
    """
    clips = clips.astype(jnp.float32)
    centred = clips - clips.mean((1, 2, 3), keepdims=True)
    deviation = jnp.sqrt((centred**2).mean((1, 2, 3), keepdims=True))
    return centred / jnp.maximum(deviation, 1e-3)


def flip(clips: jax.Array, coins: jax.Array) -> jax.Array:
    """Mirror the clips [B, T, H, W, C] whose coin [B] is true, all frames alike."""
    return jnp.where(coins[:, None, None, None, None], clips[:, :, :, ::-1], clips)


def epoch_order(
    train: np.ndarray, batch_size: int, seed: int, epoch: int
) -> np.ndarray:
    """The batches of an epoch, [steps, batch_size] indices of clips.

    A new order each epoch. What does not fill a batch sits out this epoch: batches of
    one size need one compilation, and batch normalisation needs a full one.
    """
    rng = np.random.default_rng((seed, epoch))
    steps = len(train) // batch_size
    return rng.permutation(train)[: steps * batch_size].reshape(steps, batch_size)
