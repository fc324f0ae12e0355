"""Saliency maps of a network: Grad-CAM, SmoothGrad and attention.

Grad-CAM (Selvaraju et al. 2017, the paper's reference [30]) weights the channels of a
layer by the gradient of a class. SmoothGrad (Smilkov et al. 2017) is the gradient of a
class with respect to the input, averaged over noisy copies; it does not depend on the
choice of a layer. Attention maps are the factors that the blocks multiply by. The three
kinds are meant to be compared, since a single kind can mislead.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy

from meranet_jax import cores
from meranet_jax.errors import UserError
from meranet_jax.inputs.registry import INPUTS, Input
from meranet_jax.models.convolution.threads import use_threads
from meranet_jax.models.layers import (
    ATTENTION_MAPS,
    CHANNEL_WEIGHTS,
    Grid,
    find_grid,
    map_layers,
)
from meranet_jax.training.trainers import Weights

# SmoothGrad: number of noisy copies of a clip, and the standard deviation of the noise
# as a fraction of the clip's range of values.
_COPIES = 16
_NOISE = 0.15


@dataclasses.dataclass(frozen=True)
class Maps:
    """Outputs and saliency maps of a network for a batch of clips.

    Attributes:
      logits: float32 [B, classes].
      classes: the class that the maps of each clip explain, int [B].
      grad_cam: float32 [B, T, H, W], not negative.
      smooth_grad: float32 [B, T, H, W], not negative.
      attention: spatio-temporal attention by block name, float32 [B, T, H, W] in
        [0, 1]; empty for a network without attention.
      channels: channel attention by block name, float32 [B, C] in [0, 1].
    """

    logits: np.ndarray
    classes: np.ndarray
    grad_cam: np.ndarray
    smooth_grad: np.ndarray
    attention: dict[str, np.ndarray]
    channels: dict[str, np.ndarray]


class Saliency:
    """Computes saliency maps of a network.

    Attributes:
      layer: the layer that Grad-CAM explains.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        clip_shape: Sequence[int],
        network_input: Input = INPUTS["rgb"],
        layer: str | None = None,
        decorate: Callable = lambda function: function,
    ):
        """Chooses the layer; each program is compiled when it is first used.

        Args:
          model: the network, without ``axis_name`` and ``remat``.
          clip_shape: [T, H, W, C] of a prepared clip.
          network_input: prepares the clips.
          layer: the layer that Grad-CAM explains, one of ``models.layers.map_layers``.
            Default: the last of them.
          decorate: applied to functions before they are compiled; see
            ``precision.with_precision``.

        Raises:
          UserError: if the network has no such layer.
        """
        known = map_layers(model, clip_shape)
        if not known:
            raise UserError(
                "Grad-CAM needs a layer whose output is a map over time and space. "
                "This network has none."
            )
        self._model, self._prepare = model, network_input.prepare
        self.layer = known[-1] if layer is None else layer
        if self.layer not in known:
            raise UserError(
                f"There is no layer --layer={layer}. Choose one of {', '.join(known)}."
            )
        decorate = _on_all_cores(decorate)
        self._logits = jax.jit(decorate(functools.partial(_logits, model)))
        self._grad_cam_parts = jax.jit(
            decorate(functools.partial(_grad_cam_parts, model, self.layer))
        )
        self._gradient = jax.jit(decorate(functools.partial(_input_gradient, model)))

    def maps(
        self,
        weights: Weights,
        clips: np.ndarray,
        classes: Sequence[int] | None = None,
        *,
        seed: int = 0,
    ) -> Maps:
        """Computes all maps of a batch of clips.

        Args:
          weights: weights of the network.
          clips: as the input stores clips, [B, S, H, W, C].
          classes: the class that the maps of each clip explain, [B]. Default: the
            predicted class.
          seed: draws SmoothGrad's noise.
        """
        clips = self._prepare(jnp.asarray(clips))
        if classes is None:
            classes = self._logits(weights, clips).argmax(-1)
        classes = jnp.asarray(classes, jnp.int32)
        logits, activation, gradient, attention, channels = self._grad_cam_parts(
            weights, clips, classes
        )
        size = clips.shape[1:4]

        def grid(layer, maps):
            return find_grid(self._model, layer, maps.shape[1:4], size)

        total = 0.0
        for copy in range(_COPIES):
            key = jax.random.fold_in(jax.random.key(seed), copy)
            total = total + self._gradient(weights, clips, classes, key)
        return Maps(
            np.asarray(logits),
            np.asarray(classes),
            np.asarray(
                grad_cam(activation, gradient, size, grid(self.layer, activation))
            ),
            np.asarray(jnp.abs(total / _COPIES).max(-1)),
            {
                name: np.asarray(upsample(m, size, grid(name, m)))
                for name, m in attention.items()
            },
            {name: np.asarray(m) for name, m in channels.items()},
        )


def grad_cam(
    activation: jax.Array, gradient: jax.Array, size: Sequence[int], grid: Grid
) -> jax.Array:
    """Computes Grad-CAM maps of a layer (Selvaraju et al. 2017, Eq. 1 and 2).

    The weight of a channel is its mean gradient over time and space. Time is a
    dimension of the maps.

    Args:
      activation: the layer's output, [B, T', H', W', C].
      gradient: gradient of each clip's class logit with respect to ``activation``.
      size: T, H and W of the clips.
      grid: positions of the layer's values in the clips.

    Returns:
      float32 [B, T, H, W], not negative.
    """
    weights = gradient.mean((1, 2, 3), keepdims=True)  # [B, 1, 1, 1, C]
    return upsample(nn.relu((weights * activation).sum(-1)), size, grid)


def upsample(maps: jax.Array, size: Sequence[int], grid: Grid) -> jax.Array:
    """Upsamples maps [B, T', H', W'] to float32 [B, *size] by linear interpolation.

    Index i of a map is placed where the layer's output i is centred, and not at the
    centre of s voxels as by image resizing. Beyond the first and the last index, the
    map is constant.

    Args:
      maps: [B, T', H', W'].
      size: T, H and W of the clips.
      grid: positions of the values of the maps in the clips.
    """
    maps = maps.astype(jnp.float32)
    for axis, (length, (start, stride)) in enumerate(zip(size, grid, strict=True), 1):
        current = maps.shape[axis]
        position = np.clip((np.arange(length) - start) / stride, 0, current - 1)
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, current - 1)
        weight = np.expand_dims(position - below, tuple(range(1, maps.ndim - axis)))
        maps = (1 - weight) * maps.take(below, axis) + weight * maps.take(above, axis)
    return maps.astype(jnp.float32)


def _on_all_cores(decorate: Callable) -> Callable:
    """Returns ``decorate`` with convolutions on all cores, for one device."""

    def decorated(function):
        @functools.wraps(function)
        def traced(*arguments):
            with use_threads(cores.count()):
                return function(*arguments)

        return decorate(traced)

    return decorated


def _logits(model, weights, clips):
    return model.apply(weights, clips, train=False)


def _class_logits(logits, classes):
    """Sums the logit of each clip's class over the batch.

    The gradients of the clips stay separate: with running statistics, no clip affects
    the logits of another.
    """
    return jnp.take_along_axis(logits, classes[:, None], 1).sum()


def _grad_cam_parts(model, layer, weights, clips, classes):
    """Returns logits, the layer's output and its gradient, and attention by block."""

    def apply(probe):
        outputs = {}

        def capture(call, args, kwargs, context):
            output = call(*args, **kwargs)
            if context.method_name != "__call__" or context.module.path != (layer,):
                return output
            outputs[layer] = output
            return output if probe is None else output + probe

        with nn.intercept_methods(capture):
            logits, sown = model.apply(
                weights, clips, train=False, mutable=[ATTENTION_MAPS, CHANNEL_WEIGHTS]
            )
        maps = _by_block(sown.get(ATTENTION_MAPS, {}), lambda m: m[..., 0])
        channels = _by_block(
            sown.get(CHANNEL_WEIGHTS, {}), lambda w: w.reshape(len(w), -1)
        )
        return _class_logits(logits, classes), (logits, outputs[layer], maps, channels)

    shape = jax.eval_shape(lambda: apply(None)[1][1])
    gradient, (logits, activation, maps, channels) = jax.grad(apply, has_aux=True)(
        jnp.zeros(shape.shape, shape.dtype)
    )
    return logits, activation, gradient, maps, channels


def _by_block(sown, reshape: Callable) -> dict[str, jax.Array]:
    """Returns the one array that each block has sown, by block name."""
    return {
        block: reshape(leaf)
        for block, tree in sown.items()
        for leaf in jax.tree.leaves(tree)[:1]
    }


def _input_gradient(model, weights, clips, classes, key):
    """Computes the gradient of each clip's class with respect to a noisy copy of it."""
    axes = (1, 2, 3, 4)
    ranges = clips.max(axes, keepdims=True) - clips.min(axes, keepdims=True)
    # All clips get the same noise, so that a map does not depend on other clips.
    noisy = clips + _NOISE * ranges * jax.random.normal(key, clips.shape[1:])
    return jax.grad(lambda x: _class_logits(_logits(model, weights, x), classes))(noisy)


def localisation(maps: np.ndarray, motion: np.ndarray) -> dict[str, np.ndarray]:
    """Measures how well maps localise the movement.

    A map that is zero everywhere counts as uniform.

    Args:
      maps: float [B, T, H, W], not negative.
      motion: where the face moved, bool [B, T, H, W]; not uniform in any clip.

    Returns:
      Values for each clip, each float64 [B]:

      - ``energy``: the fraction of the map where the face moved (energy-based pointing
        game, Wang et al. 2020), and ``energy_by_chance``, that of a uniform map.
      - ``auc``: the area under the ROC curve of the map as a detector of the movement,
        0.5 for a uniform map.
      - ``frame_energy``: the fraction of the map in frames with movement, and
        ``frame_energy_by_chance``, that of a uniform map.
      - ``frame_correlation``: Pearson's correlation over frames between the sums of the
        map and of the movement, 0 for a uniform map.
    """
    maps = np.where(maps.any((1, 2, 3), keepdims=True), maps, 1).astype(np.float64)
    total = maps.sum((1, 2, 3))
    frames = motion.any((2, 3))  # [B, T]
    map_by_frame, motion_by_frame = maps.sum((2, 3)), motion.sum((2, 3))  # [B, T]
    return {
        "energy": (maps * motion).sum((1, 2, 3)) / total,
        "energy_by_chance": motion.mean((1, 2, 3)),
        "auc": np.array([_auc(*pair) for pair in zip(maps, motion, strict=True)]),
        "frame_energy": (map_by_frame * frames).sum(1) / total,
        "frame_energy_by_chance": frames.mean(1),
        "frame_correlation": np.array(
            [
                _correlation(*pair)
                for pair in zip(map_by_frame, motion_by_frame, strict=True)
            ]
        ),
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Computes Pearson's correlation; 0 if one of the arrays is constant."""
    if any(np.ptp(each) <= 1e-9 * abs(each).max() for each in (one, other)):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Computes the area under the ROC curve as the Mann-Whitney statistic."""
    ranks = scipy.stats.rankdata(scores.ravel())
    positive = positive.ravel()
    count = positive.sum()
    statistic = ranks[positive].sum() - count * (count + 1) / 2
    return float(statistic / (count * (positive.size - count)))


def similarity(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes Spearman's rank correlation of pairs of maps, float64 [B].

    It is 0 if one of the maps is uniform.
    """
    found = np.zeros(len(maps))
    for index, pair in enumerate(zip(maps, others, strict=True)):
        if all(np.ptp(each) > 0 for each in pair):
            found[index] = scipy.stats.spearmanr(
                *(each.ravel() for each in pair)
            ).statistic
    return found


def randomised(weights: Weights, random: Weights, layers: Sequence[str]) -> Weights:
    """Replaces layers of trained weights by randomly initialised ones.

    It is used for the sanity check of Adebayo et al. (2018).

    Args:
      weights: the trained weights.
      random: randomly initialised weights of the same network.
      layers: names of layers. Their running statistics are replaced too; layers
        without weights are ignored.
    """
    changed = {kind: dict(tree) for kind, tree in weights.items()}
    for layer in layers:
        for kind in changed:
            if layer in random[kind]:
                changed[kind][layer] = random[kind][layer]
    return changed
