"""Saliency maps of the networks of a run over their test clips."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from meranet_jax.analysis.saliency import Saliency
from meranet_jax.config import TrainConfig
from meranet_jax.data import source_records
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.layers import layer_groups, map_layers, weight_shapes
from meranet_jax.recognisers import Network
from meranet_jax.runs.reader import Run
from meranet_jax.runs.verification import OpenedRun
from meranet_jax.training import precision, step, trainers
from meranet_jax.training.trainers import Weights

# Number of clips whose maps are computed at a time; small enough for any memory.
_BATCH_SIZE = 4

# Folded into keys, so that random weights differ from the initial weights of training.
_RANDOM_WEIGHTS = 0x5A11

# Fields of a record that are used if it has them.
_FIELDS = ("onset", "apex", "offset", "motion_mask")


@dataclasses.dataclass(frozen=True)
class ExplainedClip:
    """A test clip with the prediction and the saliency maps of a network.

    Attributes:
      clip_id: the id of the clip.
      job: the fold whose test part contains the clip.
      frames: uint8 [T, H, W, 3]; if the input is a single image, the apex frame only.
      apex: index of the apex frame, or of the nearest frame.
      classes: the names of all classes.
      truth: the true class.
      predicted: the predicted class.
      probability: the probability of the predicted class.
      target: the class that the maps explain.
      grad_cam: float32 [T, H, W], not negative.
      smooth_grad: float32 [T, H, W], not negative.
      attention: spatio-temporal attention by block, float32 [T, H, W] in [0, 1].
      motion: where the face moved, bool [T, H, W]; None if the record does not say.
      flow: float32 [T, H, W, 2], (u, v) in pixels, if it is the input; else None.
    """

    clip_id: str
    job: Job
    frames: np.ndarray
    apex: int
    classes: tuple[str, ...]
    truth: str
    predicted: str
    probability: float
    target: str
    grad_cam: np.ndarray
    smooth_grad: np.ndarray
    attention: dict[str, np.ndarray]
    motion: np.ndarray | None
    flow: np.ndarray | None = None


def check_network(run: Run) -> None:
    """Raises UserError unless the recogniser of a run is a network."""
    if not isinstance(run.config.recogniser, Network):
        raise UserError(
            f"{run.path} is a run of {run.config.title}, not of a network. Saliency "
            "maps need the gradients of a network."
        )


class Explainer:
    """Computes maps of the test clips of a run with the weights of their fold.

    Attributes:
      layer: the layer that Grad-CAM explains.
    """

    def __init__(self, opened: OpenedRun, *, layer: str | None = None):
        """Makes the network; each program is compiled when it is first used.

        Args:
          opened: the run.
          layer: see ``Saliency``.

        Raises:
          UserError: if the run has no network, or the network no such layer.
        """
        self._opened, config = opened, opened.run.config
        check_network(opened.run)
        classes = tuple(opened.clips.classes)
        # The maps need all activations, and without training they fit into memory.
        without_remat = config.change(remat=False)
        self._model = step.make_model(without_remat, num_classes=len(classes))
        self._input = network_input = inputs.find(config.input)
        self._clip_shape = network_input.shape(*opened.clips.clips.shape[1:3])
        self._maps = Saliency(
            self._model,
            clip_shape=self._clip_shape,
            network_input=network_input,
            layer=layer,
            decorate=precision.with_precision(config),
        )
        self.layer = self._maps.layer
        self._shapes = weight_shapes(self._model, self._clip_shape)

    @functools.cached_property
    def _annotations(self) -> dict[str, dict]:
        """Fields of the record of each clip; the motion at the size of the input."""
        clips = self._opened.clips
        found = source_records.read_features(
            self._opened.sources, set(clips.clip_ids), _FIELDS
        )
        for fields in found.values():
            fields["motion"] = _motion(fields, clips.clips.shape[2])
            fields.pop("motion_mask", None)
        return found

    @property
    def has_motion_masks(self) -> bool:
        """Whether records say where the face moved."""
        return any(one["motion"] is not None for one in self._annotations.values())

    @property
    def layers(self) -> list[str]:
        """Layers that Grad-CAM can explain, from the first to the last."""
        return map_layers(self._model, self._clip_shape)

    @property
    def layer_groups(self) -> list[list[str]]:
        """All layers in order, each with the normalisations that follow it."""
        return layer_groups(self._model, self._clip_shape)

    def random_weights(self, seed: int) -> Weights:
        """Returns randomly initialised weights of the network."""
        optimizer, _ = step.make_optimizer(self._opened.run.config)
        state = step.init_state(
            # The initial weights of training would be correlated with the trained ones.
            jax.random.fold_in(jax.random.key(seed), _RANDOM_WEIGHTS),
            1,
            model=self._model,
            optimizer=optimizer,
            clip_shape=self._clip_shape,
        )
        return trainers.weights_of(state)

    def weights(self, job: Job) -> Weights:
        """Reads the weights of a fold.

        Raises:
          UserError: if they are missing or damaged.
        """
        return self._opened.weights(job, self._shapes)

    def explain(
        self,
        job: Job,
        clip_ids: Sequence[str],
        *,
        target: str | Sequence[str] | None = None,
        weights: Weights | None = None,
    ) -> list[ExplainedClip]:
        """Computes the maps of test clips of a fold.

        Args:
          job: the fold.
          clip_ids: clips of its test part.
          target: the class that the maps explain, or one class for each clip. Default:
            the predicted class.
          weights: weights of the network. Default: those of the fold.

        Raises:
          UserError: if there is no such class.
        """
        clips, names = self._opened.clips, tuple(self._opened.clips.classes)
        if isinstance(target, str):
            target = [target] * len(clip_ids)
        for name in target or ():
            if name not in names:
                raise UserError(
                    f"--target={name} is not a class of this run. Choose one of "
                    f"{', '.join(names)}."
                )
        weights = self.weights(job) if weights is None else weights
        index_of = {clip_id: index for index, clip_id in enumerate(clips.clip_ids)}
        explained = []
        for first in range(0, len(clip_ids), _BATCH_SIZE):
            ids = list(clip_ids[first : first + _BATCH_SIZE])
            # The last batch is padded, so that one compilation serves all batches.
            indices = [index_of[clip_id] for clip_id in _padded(ids)]
            stored = np.stack([clips.inputs[index] for index in indices])
            targets = None
            if target is not None:
                of_batch = target[first : first + _BATCH_SIZE]
                targets = [names.index(name) for name in _padded(of_batch)]
            maps = self._maps.maps(weights, stored, targets)
            probabilities = trainers.probabilities(maps.logits)
            for index, clip_id in enumerate(ids):
                annotations = self._annotations[clip_id]
                frames, motion = clips.clips[indices[index]], annotations["motion"]
                apex = apex_frame(self._opened.run.config, annotations, len(frames))
                if self._input.single:
                    frames = frames[apex : apex + 1]
                    motion = None if motion is None else motion.any(0, keepdims=True)
                    apex = 0
                explained.append(
                    ExplainedClip(
                        clip_id=clip_id,
                        job=job,
                        frames=frames,
                        apex=apex,
                        classes=names,
                        truth=names[clips.labels[indices[index]]],
                        predicted=names[maps.logits[index].argmax()],
                        probability=float(probabilities[index].max()),
                        target=names[maps.classes[index]],
                        grad_cam=maps.grad_cam[index],
                        smooth_grad=maps.smooth_grad[index],
                        attention={n: m[index] for n, m in maps.attention.items()},
                        motion=motion,
                        flow=stored[index][..., :2].astype(np.float32)
                        if self._input.flow
                        else None,
                    )
                )
        return explained

    def explain_all(
        self, chosen: Sequence[tuple[Job, str]], *, target: str | None = None
    ) -> list[ExplainedClip]:
        """Computes the maps of test clips of several folds; see ``explain``.

        Args:
          chosen: folds with clips of their test parts. The order is kept.
          target: see ``explain``.
        """
        by_fold = {}
        for job, clip_id in chosen:
            key = (job.seed, job.number)
            by_fold.setdefault(key, (job, []))[1].append(clip_id)
        found = {
            (*key, one.clip_id): one
            for key, (job, ids) in by_fold.items()
            for one in self.explain(job, ids, target=target)
        }
        return [found[job.seed, job.number, clip_id] for job, clip_id in chosen]


def apex_frame(config: TrainConfig, annotations: dict, frames: int) -> int:
    """Returns the index of the apex frame of a clip, or of the nearest frame.

    Args:
      config: its ``sampling`` determines which frames the clip has.
      annotations: ``onset``, ``apex`` and ``offset`` of the expression, if known.
      frames: number of frames of the clip.
    """
    known = {"onset", "apex", "offset"} <= annotations.keys()
    if config.sampling == "apex" or not known:
        return frames // 2
    onset, apex, offset = (
        int(annotations[name]) for name in ("onset", "apex", "offset")
    )
    fraction = (apex - onset) / max(offset - onset, 1)
    return int(np.clip(round(fraction * (frames - 1)), 0, frames - 1))


def _padded(values: Sequence) -> list:
    """Pads a batch with its last value."""
    return [*values, *[values[-1]] * _BATCH_SIZE][:_BATCH_SIZE]


def _motion(annotations: dict, size: int) -> np.ndarray | None:
    """Downsamples a motion mask to the network's input, by majority in each block."""
    if "motion_mask" not in annotations:
        return None
    mask = np.asarray(annotations["motion_mask"])
    frames, recorded, _ = mask.shape
    blocks = mask.reshape(frames, size, recorded // size, size, -1)
    return blocks.mean((2, 4)) >= 0.5


def test_clips(
    opened: OpenedRun, seed: int | None, number: int
) -> list[tuple[Job, str]]:
    """Selects test clips of a run, of each class in turn.

    Args:
      opened: the run.
      seed: a seed of the run. Default: the first.
      number: the maximum number of clips.

    Returns:
      The fold and the id of each clip.

    Raises:
      UserError: if the run has no such seed.
    """
    seeds = sorted({job.seed for job in opened.jobs})
    if seed is not None and seed not in seeds:
        raise UserError(
            f"{opened.run.path} has no seed {seed}. Its seeds are "
            f"{', '.join(map(str, seeds))}."
        )
    seed = seeds[0] if seed is None else seed
    clips = opened.clips
    by_class = {label: [] for label in range(len(clips.classes))}
    for job in opened.jobs:
        for index in job.fold.test if job.seed == seed else ():
            by_class[clips.labels[index]].append((job, clips.clip_ids[index]))
    chosen = []
    for turn in range(max(map(len, by_class.values()))):
        chosen += [ids[turn] for ids in by_class.values() if turn < len(ids)]
    return chosen[:number]


def find_test_clip(
    opened: OpenedRun, seed: int | None, clip_id: str
) -> tuple[Job, str]:
    """Finds the fold whose test part contains a clip.

    Args:
      opened: the run.
      seed: a seed of the run. Default: the first in which the clip is tested.
      clip_id: the id of the clip.

    Returns:
      The fold and ``clip_id``.

    Raises:
      UserError: if the clip is in no test part.
    """
    seeds = [seed] if seed is not None else sorted({job.seed for job in opened.jobs})
    tested = [
        found for one in seeds for found in test_clips(opened, one, len(opened.clips))
    ]
    for job, name in tested:
        if name == clip_id:
            return job, name
    if clip_id in opened.clips.clip_ids:
        reason = "is used for training or validation"
    else:
        reason = "is not a clip"
    raise UserError(
        f"{clip_id} {reason} in {opened.run.path}. Name a test clip, such as "
        f"{tested[0][1]}."
    )
