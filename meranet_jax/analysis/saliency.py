"""Where and when a network looks: maps over the clips that it is shown.

Three kinds, since one alone proves little. Grad-CAM (the paper's reference [30]) weighs
the channels of a layer by how much each raises a class. The attention maps are what the
blocks themselves multiply by. SmoothGrad is the gradient of the class by the input,
averaged over noisy copies: it knows nothing of layers.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from meranet_jax.errors import UserError
from meranet_jax.inputs.registry import INPUTS, Input
from meranet_jax.models.layers import ATTENTION_MAPS, CHANNEL_WEIGHTS, map_layers
from meranet_jax.training.trainers import Weights

# SmoothGrad: noisy copies of a clip, and their noise as a share of the clip's range.
_COPIES = 16
_NOISE = 0.15


@dataclasses.dataclass(frozen=True)
class Maps:
    """What a network made of some clips.

    Attributes:
      logits: float32 [B, classes].
      classes: that the maps are of, int [B].
      grad_cam: float32 [B, T, H, W], from 0.
      smooth_grad: float32 [B, T, H, W], from 0.
      attention: the spatio-temporal attention of each block by its name, float32
        [B, T, H, W] between 0 and 1; none of a network without.
      channels: the channel attention of each block, float32 [B, C] between 0 and 1.
    """

    logits: np.ndarray
    classes: np.ndarray
    grad_cam: np.ndarray
    smooth_grad: np.ndarray
    attention: dict[str, np.ndarray]
    channels: dict[str, np.ndarray]


class Saliency:
    """The maps of a network, compiled once for a number of clips."""

    def __init__(
        self,
        model: nn.Module,
        *,
        clip_shape: Sequence[int],
        network_input: Input = INPUTS["rgb"],
        layer: str | None = None,
        decorate: Callable = lambda function: function,
    ):
        """Compiles nothing yet.

        Args:
          model: whose ``axis_name`` is None and that keeps all (no ``remat``).
          clip_shape: of a prepared clip, [T, H, W, C].
          network_input: prepares the clips.
          layer: that Grad-CAM looks at, one of ``models.layers.map_layers``; by default
            the last.
          decorate: what is compiled; see ``precision.with_precision``.

        Raises:
          UserError: if there is no such layer, or the network has none.
        """
        known = map_layers(model, clip_shape)
        if not known:
            raise UserError(
                "Grad-CAM needs a layer whose output is a map over time and space, but "
                "this network has none."
            )
        self._prepare = network_input.prepare
        self.layer = known[-1] if layer is None else layer
        if self.layer not in known:
            raise UserError(f"--layer={layer} is none of {', '.join(known)}.")
        self._logits = jax.jit(decorate(functools.partial(_logits, model)))
        self._seen = jax.jit(decorate(functools.partial(_seen, model, self.layer)))
        self._gradient = jax.jit(decorate(functools.partial(_input_gradient, model)))

    def maps(
        self,
        weights: Weights,
        clips: np.ndarray,
        classes: Sequence[int] | None = None,
        *,
        seed: int = 0,
    ) -> Maps:
        """All maps of some clips.

        Args:
          weights: of the network.
          clips: uint8 [B, T, H, W, 3].
          classes: to look for, [B]; by default what the network predicts.
          seed: draws SmoothGrad's noise.
        """
        clips = self._prepare(jnp.asarray(clips))
        if classes is None:
            classes = self._logits(weights, clips).argmax(-1)
        classes = jnp.asarray(classes, jnp.int32)
        logits, activation, gradient, attention, channels = self._seen(
            weights, clips, classes
        )
        size = clips.shape[1:4]
        total = 0.0
        for copy in range(_COPIES):
            key = jax.random.fold_in(jax.random.key(seed), copy)
            total = total + self._gradient(weights, clips, classes, key)
        return Maps(
            np.asarray(logits),
            np.asarray(classes),
            np.asarray(grad_cam(activation, gradient, size)),
            np.asarray(jnp.abs(total / _COPIES).max(-1)),
            {name: np.asarray(upsample(m, size)) for name, m in attention.items()},
            {name: np.asarray(m) for name, m in channels.items()},
        )


def grad_cam(
    activation: jax.Array, gradient: jax.Array, size: Sequence[int]
) -> jax.Array:
    """The maps of a layer, over the clips (Selvaraju et al., Eq. 1 and 2).

    Args:
      activation: the layer's output, [B, T', H', W', C].
      gradient: of each clip's class by it.
      size: T, H and W of the clips.

    Returns:
      float32 [B, T, H, W], from 0. Time is kept: a channel's weight is its mean
      gradient over all frames, and its map is the frame's own.
    """
    weights = gradient.mean((1, 2, 3), keepdims=True)  # [B, 1, 1, 1, C]
    return upsample(nn.relu((weights * activation).sum(-1)), size)


def upsample(maps: jax.Array, size: Sequence[int]) -> jax.Array:
    """[B, T', H', W'] -> float32 [B, *size], linearly along each axis.

    Where a convolution of stride s stands at i, it looks at what surrounds s * i: its
    padding is the same on both sides. So that is where the map's i lies, and not in the
    middle of s voxels, as in resized pictures.
    """
    maps = maps.astype(jnp.float32)
    for axis, length in enumerate(size, 1):
        have = maps.shape[axis]
        stride = 2 ** round(math.log2(length / have))
        place = np.minimum(np.arange(length) / stride, have - 1)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, have - 1)
        share = np.expand_dims(place - below, tuple(range(1, maps.ndim - axis)))
        maps = (1 - share) * maps.take(below, axis) + share * maps.take(above, axis)
    return maps.astype(jnp.float32)


def _logits(model, weights, clips):
    return model.apply(weights, clips, train=False)


def _of_class(logits, classes):
    """The sum over clips of the logit of each one's class: their gradients are apart,
    since no clip has a part in another's logits when running statistics are used."""
    return jnp.take_along_axis(logits, classes[:, None], 1).sum()


def _seen(model, layer, weights, clips, classes):
    """Logits, the layer's output and its gradient, and the attentions by block."""

    def apply(probe):
        outputs = {}

        def look(call, args, kwargs, context):
            found = call(*args, **kwargs)
            if context.method_name != "__call__" or context.module.path != (layer,):
                return found
            outputs[layer] = found
            return found if probe is None else found + probe

        with nn.intercept_methods(look):
            logits, sown = model.apply(
                weights, clips, train=False, mutable=[ATTENTION_MAPS, CHANNEL_WEIGHTS]
            )
        maps = _by_block(sown.get(ATTENTION_MAPS, {}), lambda m: m[..., 0])
        channels = _by_block(
            sown.get(CHANNEL_WEIGHTS, {}), lambda w: w.reshape(len(w), -1)
        )
        return _of_class(logits, classes), (logits, outputs[layer], maps, channels)

    shape = jax.eval_shape(lambda: apply(None)[1][1])
    gradient, (logits, activation, maps, channels) = jax.grad(apply, has_aux=True)(
        jnp.zeros(shape.shape, shape.dtype)
    )
    return logits, activation, gradient, maps, channels


def _by_block(sown, shaped: Callable) -> dict[str, jax.Array]:
    """The one array that each block has sown, by the block's name."""
    return {
        block: shaped(leaf)
        for block, tree in sown.items()
        for leaf in jax.tree.leaves(tree)[:1]
    }


def _input_gradient(model, weights, clips, classes, key):
    """The gradient of each clip's class by a noisy copy of the clip."""
    axes = (1, 2, 3, 4)
    ranges = clips.max(axes, keepdims=True) - clips.min(axes, keepdims=True)
    # The same for all, so that a map does not hang on the clips beside it.
    noisy = clips + _NOISE * ranges * jax.random.normal(key, clips.shape[1:])
    return jax.grad(lambda x: _of_class(_logits(model, weights, x), classes))(noisy)


def localisation(maps: np.ndarray, moved: np.ndarray) -> dict[str, np.ndarray]:
    """How well maps point at what has moved.

    Args:
      maps: float [B, T, H, W], from 0.
      moved: bool [B, T, H, W]; of each clip somewhere, and not everywhere, true.

    Returns:
      Each [B]. ``energy``: the share of the map that lies where it moved (energy-based
      pointing game, Wang et al. 2020), and ``energy_by_chance``: the share of an even
      map. ``auc``: how probably a voxel that moved has more than one that did not.
      ``frame_energy``: the share of the map in frames in which anything moved, and
      ``frame_energy_by_chance``. ``frame_correlation``: between how much of the
      map and how much of what moved is in each frame; 0 of an even map. A map that is
      zero everywhere counts as an even one.
    """
    maps = np.where(maps.any((1, 2, 3), keepdims=True), maps, 1).astype(np.float64)
    total = maps.sum((1, 2, 3))
    frames = moved.any((2, 3))  # [B, T]
    by_frame, by_moved = maps.sum((2, 3)), moved.sum((2, 3))  # [B, T]
    return {
        "energy": (maps * moved).sum((1, 2, 3)) / total,
        "energy_by_chance": moved.mean((1, 2, 3)),
        "auc": np.array([_auc(*pair) for pair in zip(maps, moved, strict=True)]),
        "frame_energy": (by_frame * frames).sum(1) / total,
        "frame_energy_by_chance": frames.mean(1),
        "frame_correlation": np.array(
            [_correlation(*pair) for pair in zip(by_frame, by_moved, strict=True)]
        ),
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; 0 where one of them does not vary but for rounding."""
    if any(np.ptp(each) <= 1e-9 * abs(each).max() for each in (one, other)):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve, equal scores half; by ranks (Mann and Whitney)."""
    ranks = stats.rankdata(scores.ravel())
    here = positive.ravel()
    count = here.sum()
    above = ranks[here].sum() - count * (count + 1) / 2
    return float(above / (count * (here.size - count)))


def similarity(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each map with the other [B]; of even ones 0."""
    found = np.zeros(len(maps))
    for index, pair in enumerate(zip(maps, others, strict=True)):
        if all(np.ptp(each) > 0 for each in pair):
            found[index] = stats.spearmanr(*(each.ravel() for each in pair)).statistic
    return found


def randomised(weights: Weights, fresh: Weights, layers: Sequence[str]) -> Weights:
    """Weights whose layers of these names are those of another network.

    For the sanity check of Adebayo et al. (2018): a map that stays what it was when
    what was learnt is gone says nothing of what was learnt.

    Args:
      weights: learnt.
      fresh: of the same network, drawn anew.
      layers: names below ``params``; with normalisations of their own.

    Raises:
      KeyError: if there is no such layer.
    """
    changed = {kind: dict(tree) for kind, tree in weights.items()}
    for layer in layers:
        changed["params"][layer] = fresh["params"][layer]
        for kind in changed:
            if layer in fresh[kind]:
                changed[kind][layer] = fresh[kind][layer]
    return changed
