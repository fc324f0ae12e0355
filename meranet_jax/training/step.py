"""The train step: a pure function of the train state and a batch.

With a ``pmap`` axis the step is data parallel: batch statistics, gradients and metrics
are averaged over the devices, so that several devices compute the same as one. Without
an axis each device trains independently.
"""

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from meranet_jax.config import TrainConfig
from meranet_jax.inputs import augmentation
from meranet_jax.inputs import registry as inputs
from meranet_jax.inputs.registry import Input
from meranet_jax.models.convolution import lowerings
from meranet_jax.models.dropout import CLIP_DROPOUT
from meranet_jax.models.layers import find_groups, frozen_norms


@flax.struct.dataclass
class TrainState:
    """State of the training of a fold.

    Attributes:
      step: int32, number of steps done.
      params: parameters of the network.
      batch_stats: running means and variances of batch normalisation.
      opt_state: state of the optimiser.
      total_steps: int32, number of steps of the complete training; folds differ.
      key: data of the random key of flips and dropout, folded with the step. A typed
        key would be bound to a device when it is saved.
      diverged: bool, whether the loss, the gradient or the updated state of a step was
        not finite. The other fields then keep their values before that step.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    total_steps: jax.Array
    key: jax.Array
    diverged: jax.Array


# Folded into the keys of random changes of clips. Keys of dropout have the number of
# the device instead, which is smaller.
_AUGMENTATION = 2**30
# The same for dropout that does not depend on the number of devices.
_DROPOUT = 2**30 + 1

# Learning rate as a function of the steps done and the total steps.
Rate = Callable[[jax.Array, jax.Array], jax.Array]


def make_model(
    config: TrainConfig, *, num_classes: int, axis_name: str | None = None
) -> nn.Module:
    """Makes the network of a configuration.

    Args:
      config: the run's.
      num_classes: number of outputs.
      axis_name: name of the pmap axis over which batch statistics are averaged, if any.

    Raises:
      UserError: if the network cannot be made.
    """
    return config.recogniser.make(
        config.settings,
        num_classes=num_classes,
        axis_name=axis_name,
        dtype=jnp.bfloat16 if config.settings.precision == "bf16" else None,
    )


def convolution_form(config: TrainConfig) -> str | None:
    """Returns the form in which a CPU computes the convolutions of a network.

    Args:
      config: of a run of a network.

    Returns:
      One of ``lowerings.NAMES``; None if the network has no setting for it.

    Raises:
      UserError: if the network cannot be made, or see ``lowerings.choose``.
    """
    model = make_model(config, num_classes=3)
    if not hasattr(model, "lowering"):
        return None
    dtype = getattr(model, "dtype", None) or jnp.float32
    return model.lowering or lowerings.choose(dtype)


def make_optimizer(config: TrainConfig) -> tuple[optax.GradientTransformation, Rate]:
    """Makes the optimiser, without learning rate, and the learning rate.

    The learning rate is separate from the optimiser, since folds that share a compiled
    step differ in their number of steps. That of section 4.3 decays to 0 by a cosine
    schedule.

    ``adam_warmup`` is Adam with the untuned linear warm-up of 2 / (1 - beta2) steps,
    which the paper's reference [22] (Ma and Yarats) finds as good as RAdam.

    Returns:
      The gradient transformation and the learning rate.
    """
    initial = config.settings.learning_rate
    cosine = optax.cosine_decay_schedule(initial, 1)
    beta2 = 0.999

    def rate(step, total_steps):
        if config.settings.schedule == "constant":
            return jnp.full(jnp.shape(step), initial, jnp.float32)
        if config.settings.schedule == "halving":
            return initial * 0.5 ** (10 * jnp.asarray(step) // total_steps)
        return cosine(step / total_steps)

    def warmed_up(step, total_steps):
        warmup = jnp.minimum(1.0, (step + 1) * (1 - beta2) / 2)
        return rate(step, total_steps) * warmup

    match config.settings.optimizer:
        case "radam":
            return optax.scale_by_radam(b2=beta2), rate
        case "adam_warmup":
            return optax.scale_by_adam(b2=beta2), warmed_up
        case "adam":
            return optax.scale_by_adam(b2=beta2), rate
    if config.settings.momentum:
        return optax.trace(config.settings.momentum), rate
    return optax.identity(), rate


def make_step(
    config: TrainConfig,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    rate: Rate,
    params: Mapping[str, Any],
) -> Callable[
    [TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]
]:
    """Makes the train step of a configuration.

    Args:
      config: the run's.
      model: as ``make_model`` made it.
      optimizer: as ``make_optimizer`` made it.
      rate: as ``make_optimizer`` made it.
      params: parameters of the network, or their shapes.

    Returns:
      ``train_step`` as a function of the state and the batch.

    Raises:
      UserError: if ``--freeze`` names no layer of the network.
    """
    return functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        rate=rate,
        network_input=inputs.find(config.input),
        flip=config.settings.flip,
        augment=config.settings.augment,
        parts=config.settings.accumulate,
        frozen=find_groups(config.settings.freeze, params),
    )


def init_state(
    key: jax.Array,
    total_steps: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    clip_shape: Sequence[int],
) -> TrainState:
    """Initialises a train state.

    Args:
      key: random key.
      total_steps: number of steps of the complete training.
      model: the network.
      optimizer: as ``make_optimizer`` made it.
      clip_shape: shape of one clip as the network gets it, [T, H, W, C].
    """
    init_key, flip_key = jax.random.split(key)
    variables = model.init(init_key, jnp.zeros((1, *clip_shape)), train=False)
    batch_stats = variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=batch_stats,
        opt_state=optimizer.init(variables["params"]),
        total_steps=jnp.asarray(total_steps, jnp.int32),
        key=jax.random.key_data(flip_key),
        diverged=jnp.zeros((), bool),
    )


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    rate: Rate,
    network_input: Input,
    flip: bool,
    augment: Sequence[str] = (),
    parts: int = 1,
    frozen: Collection[str] = (),
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Updates the train state with one batch.

    Args:
      state: the state before the step.
      batch: ``clip``, as the input stores clips, uint8 or float16 [B, S, H, W, C], and
        ``label`` int32 [B]; with a pmap axis this device's share of the batch.
      model: the network; its ``axis_name`` is the pmap axis to average over, if any.
      optimizer: as ``make_optimizer`` made it.
      rate: as ``make_optimizer`` made it.
      network_input: prepares and mirrors the clips.
      flip: whether to mirror clips at random.
      augment: names of further random changes of the clips.
      parts: number of parts of the batch for gradient accumulation, computed one after
        another. Each has its own batch statistics; the gradient is the mean over parts.
      frozen: names of the parameter groups that keep their values. Their batch
        normalisations use the running statistics, which they keep, too.

    Returns:
      The state after the step, and sums over the batch by name: ``loss``, ``correct``
      (predictions), ``clips``; and ``diverged``, whether the state has diverged.
    """
    axis = model.axis_name
    keys = _dropout_keys(state, parts, axis)

    def mean_loss(params, batch_stats, clips, labels, dropout_keys):
        if frozen:
            params = params | {n: jax.lax.stop_gradient(params[n]) for n in frozen}
        with frozen_norms(frozen) if frozen else contextlib.nullcontext():
            logits, updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                clips,
                train=True,
                mutable=["batch_stats"],
                rngs=dropout_keys,
            )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (losses.sum(), logits, updated.get("batch_stats", {}))

    def part_of(batch_stats, part, dropout_keys):
        if augment:
            keys = jax.random.wrap_key_data(part["augment"])
            clips = network_input.augment(part["clip"], keys, augment)
        else:
            clips = network_input.prepare(part["clip"])
        if flip:
            clips = augmentation.flip(clips, part["flip"], network_input.mirror)
        gradient, (loss, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(
            state.params, batch_stats, clips, part["label"], dropout_keys
        )
        sums = {
            "loss": loss,
            "correct": (logits.argmax(-1) == part["label"]).sum(),
            "clips": jnp.array(len(clips)),
        }
        return batch_stats, (gradient, sums)

    if flip:
        batch = batch | {"flip": _draw_flips(state, len(batch["label"]), parts, axis)}
    if augment:
        keys_of_clips = _draw_keys(state, len(batch["label"]), parts, axis)
        batch = batch | {"augment": keys_of_clips}
    if parts == 1:
        batch_stats, (gradient, sums) = part_of(state.batch_stats, batch, _first(keys))
    else:
        divided = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
        gradient, sums = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(part_of, state.batch_stats, _first(divided), _first(keys))[
                1
            ],
        )

        def add(carry, part):
            batch_stats, *totals = carry
            batch_stats, more = part_of(batch_stats, *part)
            return (batch_stats, *jax.tree.map(jnp.add, totals, list(more))), None

        (batch_stats, gradient, sums), _ = jax.lax.scan(
            add, (state.batch_stats, gradient, sums), (divided, keys)
        )
        gradient = jax.tree.map(lambda x: x / parts, gradient)
    if axis is not None:
        # batch_stats are equal already: the model averages the statistics of the batch.
        gradient = jax.lax.pmean(gradient, axis)
        sums = jax.lax.psum(sums, axis)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    step_size = -rate(state.step, state.total_steps)
    updates = jax.tree.map(lambda update: step_size * update, updates)
    after = state.replace(
        step=state.step + 1,
        params=_keep(frozen, state.params, optax.apply_updates(state.params, updates)),
        batch_stats=_keep(frozen, state.batch_stats, batch_stats),
        opt_state=opt_state,
    )
    # A gradient that is not finite makes the optimiser's moments not finite.
    finite = jax.tree.map(lambda x: jnp.isfinite(x).all(), (after, sums["loss"]))
    diverged = jax.lax.platform_dependent(
        state.diverged,
        jax.tree.leaves(finite),
        cpu=_any_false_by_condition,
        default=_any_false,
    )
    after = select(diverged, state.replace(diverged=diverged), after)
    return after, sums | {"diverged": diverged}


def _any_false(diverged: jax.Array, flags: Sequence[jax.Array]) -> jax.Array:
    """Returns whether the state had diverged before, or a flag is not set."""
    return diverged | ~jnp.stack(flags).all()


def _any_false_by_condition(
    diverged: jax.Array, flags: Sequence[jax.Array]
) -> jax.Array:
    """Computes ``_any_false`` as a conditional, which XLA does not repeat.

    XLA's CPU backend would otherwise repeat the expression over all leaves of the state
    in the update of each leaf: that was most of the program (docs/performance.md).
    """
    return jax.lax.cond(
        diverged,
        lambda flags: jnp.array(True),
        lambda flags: _any_false(jnp.array(False), flags),
        flags,
    )


def select(condition: jax.Array, on_true, on_false):
    """Returns one of two trees of arrays, depending on a scalar condition."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), on_true, on_false)


def _draw_flips(
    state: TrainState, share: int, parts: int, axis: str | None
) -> jax.Array:
    """Draws whether to mirror each clip of this device's share, bool [B].

    Draws for the complete batch, of which each part is divided over the devices, so
    that a clip's flip depends on its position in the batch and not on the number of
    devices.
    """
    devices = 1 if axis is None else jax.lax.axis_size(axis)
    index = 0 if axis is None else jax.lax.axis_index(axis)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    flips = jax.random.bernoulli(key, shape=(parts, devices, share // parts))
    return flips[:, index].reshape(share)


def _draw_keys(
    state: TrainState, share: int, parts: int, axis: str | None
) -> jax.Array:
    """Draws the data of a random key for each clip of this device's share, [B, ...].

    As the flips, they do not depend on the number of devices.
    """
    devices = 1 if axis is None else jax.lax.axis_size(axis)
    index = 0 if axis is None else jax.lax.axis_index(axis)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    key = jax.random.fold_in(key, _AUGMENTATION)
    keys = jax.random.split(key, (parts, devices, share // parts))
    of_device = jax.random.key_data(keys)[:, index]
    return of_device.reshape(share, *of_device.shape[2:])


def _dropout_keys(
    state: TrainState, parts: int, axis: str | None
) -> dict[str, jax.Array]:
    """Returns the dropout keys [parts] of each part of a batch, by their stream.

    Those for ``flax.linen.Dropout`` differ between devices. Those for
    ``models.dropout.Dropout`` are the same on all devices: it draws for the complete
    batch, as for the flips.
    """
    index = 0 if axis is None else jax.lax.axis_index(axis)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    return {
        "dropout": jax.random.split(jax.random.fold_in(key, 1 + index), parts),
        CLIP_DROPOUT: jax.random.split(jax.random.fold_in(key, _DROPOUT), parts),
    }


def _keep(groups: Collection[str], before: dict, after: dict) -> dict:
    """Returns ``after`` with some groups as they were before, where they exist."""
    return after | {name: before[name] for name in groups if name in before}


def _first(tree):
    return jax.tree.map(lambda x: x[0], tree)
