"""A run's saliency: the maps of its networks over clips that they were tested on."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from meranet_jax.analysis import saliency
from meranet_jax.analysis.saliency import Saliency
from meranet_jax.config import TrainConfig
from meranet_jax.data import loading
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.layers import layer_groups, map_layers
from meranet_jax.recognisers import Network
from meranet_jax.runs.verification import Opened
from meranet_jax.training import precision, step, trainers
from meranet_jax.training.trainers import Weights

# Clips of which maps are computed at a time: so many that memory does not matter.
_BATCH = 4

# Sets keys apart from those of training.
_ANEW = 0x5A11

# What records say of a clip, where they know it.
_KNOWN = ("onset", "apex", "offset", "motion_mask")


@dataclasses.dataclass(frozen=True)
class Shown:
    """A test clip and what a network made of it.

    Attributes:
      clip_id: its name.
      job: the fold whose test part it is in.
      frames: uint8 [T, H, W, 3].
      apex: the frame that is the apex, or nearest to it.
      classes: all names.
      truth: its class.
      predicted: what the network says.
      probability: how sure it is.
      target: the class that the maps are of.
      grad_cam: float32 [T, H, W], from 0.
      smooth_grad: float32 [T, H, W], from 0.
      attention: by block, float32 [T, H, W] between 0 and 1.
      moved: where the face has moved, bool [T, H, W]; None where that is not known.
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
    moved: np.ndarray | None


class Explainer:
    """Makes maps of the clips of a run, by the weights of the fold that tested them."""

    def __init__(self, opened: Opened, *, layer: str | None = None):
        """``layer``: see ``Saliency``.

        Raises:
          UserError: if there is no such layer.
        """
        self._opened, config = opened, opened.run.config
        if not isinstance(config.recogniser, Network):
            raise UserError(
                f"{opened.run.path} is a run of {config.title}, which has no gradient: "
                "saliency maps need a network."
            )
        classes = tuple(opened.clips.classes)
        # Nothing is trained, so there is no memory to save; and the maps need all.
        kept = config.change(remat=False)
        self._model = step.make_model(kept, num_classes=len(classes))
        network_input = inputs.find(config.input)
        self._clip_shape = network_input.shape(*opened.clips.clips.shape[1:3])
        self._maps = Saliency(
            self._model,
            clip_shape=self._clip_shape,
            network_input=network_input,
            layer=layer,
            decorate=precision.with_precision(config),
        )
        self.layer = self._maps.layer
        self._shapes = jax.eval_shape(lambda: self.fresh(0))

    @functools.cached_property
    def _known(self) -> dict[str, dict]:
        """What records say of each clip, what moved at the size of the input."""
        clips = self._opened.clips
        found = loading.read_features(self._opened.sources, set(clips.clip_ids), _KNOWN)
        for known in found.values():
            known["moved"] = _moved(known, clips.clips.shape[2])
            known.pop("motion_mask", None)
        return found

    @property
    def knows_motion(self) -> bool:
        """Whether it is known where faces moved."""
        return any(known["moved"] is not None for known in self._known.values())

    @property
    def layers(self) -> list[str]:
        """Layers that Grad-CAM can look at, from the first to the last."""
        return map_layers(self._model, self._clip_shape)

    @property
    def layer_groups(self) -> list[list[str]]:
        """All layers in order, each with the normalisations that follow it."""
        return layer_groups(self._model, self._clip_shape)

    def fresh(self, seed: int) -> Weights:
        """Weights that have learnt nothing."""
        optimizer, _ = step.make_optimizer(self._opened.run.config)
        state = step.init_state(
            # Not a seed's own first weights, of which the trained ones keep a trace.
            jax.random.fold_in(jax.random.key(seed), _ANEW),
            1,
            model=self._model,
            optimizer=optimizer,
            clip_shape=self._clip_shape,
        )
        return trainers.weights_of(state)

    def weights(self, job: Job) -> Weights:
        """A fold's.

        Raises:
          UserError: if they cannot be read.
        """
        return self._opened.weights(job, self._shapes)

    def show(
        self,
        job: Job,
        clip_ids: Sequence[str],
        *,
        target: str | Sequence[str] | None = None,
        weights: Weights | None = None,
    ) -> list[Shown]:
        """Some test clips of a fold.

        Args:
          job: the fold.
          clip_ids: of its test part.
          target: the class that maps are of, or that of each clip; by default what is
            predicted of each.
          weights: others than the fold's.

        Raises:
          UserError: if there is no such class.
        """
        clips, names = self._opened.clips, tuple(self._opened.clips.classes)
        if isinstance(target, str):
            target = [target] * len(clip_ids)
        for name in target or ():
            if name not in names:
                raise UserError(f"--target={name} is none of {', '.join(names)}.")
        weights = self.weights(job) if weights is None else weights
        number = {clip_id: index for index, clip_id in enumerate(clips.clip_ids)}
        shown = []
        for first in range(0, len(clip_ids), _BATCH):
            ids = list(clip_ids[first : first + _BATCH])
            # The last batch is filled up: one size is one compilation.
            indices = [number[i] for i in _filled(ids)]
            frames = np.stack([clips.clips[index] for index in indices])
            targets = None
            if target is not None:
                of_batch = target[first : first + _BATCH]
                targets = [names.index(name) for name in _filled(of_batch)]
            maps = self._maps.maps(weights, frames, targets)
            sure = trainers.probabilities(maps.logits)
            for place, clip_id in enumerate(ids):
                shown.append(
                    Shown(
                        clip_id=clip_id,
                        job=job,
                        frames=frames[place],
                        apex=apex_frame(
                            self._opened.run.config,
                            self._known[clip_id],
                            len(frames[place]),
                        ),
                        classes=names,
                        truth=names[clips.labels[indices[place]]],
                        predicted=names[maps.logits[place].argmax()],
                        probability=float(sure[place].max()),
                        target=names[maps.classes[place]],
                        grad_cam=maps.grad_cam[place],
                        smooth_grad=maps.smooth_grad[place],
                        attention={n: m[place] for n, m in maps.attention.items()},
                        moved=self._known[clip_id]["moved"],
                    )
                )
        return shown

    def show_all(
        self, chosen: Sequence[tuple[Job, str]], *, target: str | None = None
    ) -> list[Shown]:
        """Test clips of several folds, in their order; see ``show``."""
        of_fold = {}
        for job, clip_id in chosen:
            of_fold.setdefault(job.folder, (job, []))[1].append(clip_id)
        found = {
            (folder, one.clip_id): one
            for folder, (job, ids) in of_fold.items()
            for one in self.show(job, ids, target=target)
        }
        return [found[job.folder, clip_id] for job, clip_id in chosen]


def apex_frame(config: TrainConfig, known: dict, frames: int) -> int:
    """The frame of a clip that is its apex, or nearest to it.

    Args:
      config: says how frames were drawn.
      known: ``onset``, ``apex`` and ``offset`` of the expression.
      frames: how many the clip has.
    """
    if config.sampling == "apex" or not {"onset", "apex", "offset"} <= known.keys():
        return frames // 2
    length = max(int(known["offset"]) - int(known["onset"]), 1)
    share = (int(known["apex"]) - int(known["onset"])) / length
    return int(np.clip(round(share * (frames - 1)), 0, frames - 1))


def _filled(values: Sequence) -> list:
    """A batch of them, filled up with the last."""
    return [*values, *[values[-1]] * _BATCH][:_BATCH]


def _moved(known: dict, size: int) -> np.ndarray | None:
    """The mask at the size of the network's input: where half of a block moved."""
    if "motion_mask" not in known:
        return None
    mask = np.asarray(known["motion_mask"])
    frames, recorded, _ = mask.shape
    blocks = mask.reshape(frames, size, recorded // size, size, -1)
    return blocks.mean((2, 4)) >= 0.5


def test_clips(opened: Opened, seed: int | None, number: int) -> list[tuple[Job, str]]:
    """Some test clips of a run, of all classes in turn.

    Args:
      opened: the run.
      seed: one of its; by default its first.
      number: how many at most.

    Raises:
      UserError: if it has no such seed.
    """
    seeds = sorted({job.seed for job in opened.jobs})
    if seed is not None and seed not in seeds:
        raise UserError(
            f"{opened.run.path} has no seed {seed}, but {', '.join(map(str, seeds))}."
        )
    seed = seeds[0] if seed is None else seed
    clips = opened.clips
    by_class = {label: [] for label in range(len(clips.classes))}
    for job in opened.jobs:
        for index in job.fold.test if job.seed == seed else ():
            by_class[clips.labels[index]].append((job, clips.clip_ids[index]))
    chosen = []
    for turn in range(max(map(len, by_class.values()))):
        chosen += [of[turn] for of in by_class.values() if turn < len(of)]
    return chosen[:number]


def find(opened: Opened, seed: int | None, clip_id: str) -> tuple[Job, str]:
    """The fold that a clip was tested in, of the first seed that has one.

    Raises:
      UserError: if there is none.
    """
    seeds = [seed] if seed is not None else sorted({job.seed for job in opened.jobs})
    every = [
        found for one in seeds for found in test_clips(opened, one, len(opened.clips))
    ]
    for job, name in every:
        if name == clip_id:
            return job, name
    where = "trains or validates" if clip_id in opened.clips.clip_ids else "is not in"
    raise UserError(
        f"{clip_id} {where} {opened.run.path} and is not among its test clips; "
        f"{every[0][1]} is one, for example."
    )


def localisation(shown: Sequence[Shown]) -> dict[str, dict[str, np.ndarray]]:
    """How well each kind of map points at what moved, see ``saliency.localisation``.

    Of the clips in which it is known, and something but not everything moved; ``{}`` if
    there are none.
    """
    known = [s for s in shown if s.moved is not None]
    known = [s for s in known if s.moved.any() and not s.moved.all()]
    if not known:
        return {}
    moved = np.stack([s.moved for s in known])
    kinds = {
        "Grad-CAM": [s.grad_cam for s in known],
        "SmoothGrad": [s.smooth_grad for s in known],
    }
    for block in known[0].attention:
        kinds[f"attention of {block}"] = [s.attention[block] for s in known]
    return {
        kind: saliency.localisation(np.stack(maps), moved)
        for kind, maps in kinds.items()
    }


def sanity(
    explainer: Explainer, job: Job, clip_ids: Sequence[str], *, seed: int = 1
) -> list[dict]:
    """How maps change as layers lose what they have learnt, from the head down.

    Adebayo et al. (2018), the cascading randomisation: a map that stays what it was
    says nothing of what was learnt.

    Args:
      explainer: of the run.
      job: a fold.
      clip_ids: of its test part.
      seed: draws what takes the place of what was learnt.

    Returns:
      For each stage, from none to all layers: ``randomised``, the lowest layer that has
      lost it; and for Grad-CAM and SmoothGrad the mean rank correlation with the maps
      of the trained network, of the class that this predicts.
    """
    weights, fresh = explainer.weights(job), explainer.fresh(seed)
    trained = explainer.show(job, clip_ids)
    rows, lost = [], []
    upwards = [group[::-1] for group in reversed(explainer.layer_groups)]
    for layers in [[], *upwards]:
        lost += layers
        changed = saliency.randomised(weights, fresh, lost)
        pairs = {"grad_cam": [], "smooth_grad": []}
        # Of the class that the trained network saw: else another map is asked for.
        targets = [one.predicted for one in trained]
        others = explainer.show(job, clip_ids, target=targets, weights=changed)
        for one, other in zip(trained, others, strict=True):
            for kind, found in pairs.items():
                maps = [getattr(each, kind)[None] for each in (one, other)]
                found.append(float(saliency.similarity(*maps)[0]))
        rows.append(
            {"randomised": layers[-1] if layers else "nothing"}
            | {kind: float(np.mean(found)) for kind, found in pairs.items()}
        )
    return rows


def describe(shown: Sequence[Shown], layer: str) -> str:
    """How well the maps point, in words; that it is not known, if so."""
    found = localisation(shown)
    if not found:
        return "Where the face moved is not known of these clips."
    width = max(map(len, found))
    count = len(found["Grad-CAM"]["auc"])
    lines = [
        f"Where the face moved is known of {count} clips. Means over them; in brackets "
        "what an even map has:"
    ]
    for kind, numbers in found.items():
        mean = {name: float(values.mean()) for name, values in numbers.items()}
        lines.append(
            f"  {kind:{width}}  {mean['energy']:.3f} ({mean['energy_by_chance']:.3f}) "
            f"of the map where it moved, AUC {mean['auc']:.3f} (0.5); "
            f"{mean['frame_energy']:.3f} ({mean['frame_energy_by_chance']:.3f}) in "
            f"frames that moved, correlation over frames "
            f"{mean['frame_correlation']:+.2f} (0)"
        )
    lines.append(f"Grad-CAM is of {layer}.")
    return "\n".join(lines)
