"""One update of the network: a pure function of the state and a batch.

Under an axis of ``pmap`` over the batch it is data parallel: batch statistics,
gradients and metrics are averaged over the devices, so that a run on several computes
what a run on one computes. Without an axis it trains by itself.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from meranet_jax.config import TrainConfig
from meranet_jax.inputs import augmentation
from meranet_jax.inputs.registry import Input


@flax.struct.dataclass
class TrainState:
    """All that a step changes.

    Attributes:
      step: steps done, int32.
      params: the network's parameters.
      batch_stats: running means and variances of the batch normalisations.
      opt_state: the optimiser's moments.
      total_steps: of the whole run, int32; folds differ by a few.
      key: draws the flips, folded with the step; a key's data, since a typed key is
        bound to a device wherever it is kept.
      diverged: whether a step gave a loss, a gradient or anything else that was not
        finite. From then on nothing else changes: this is the state that gave it.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    total_steps: jax.Array
    key: jax.Array
    diverged: jax.Array


# The learning rate by steps done and of the whole run.
Rate = Callable[[jax.Array, jax.Array], jax.Array]


def make_model(
    config: TrainConfig, *, num_classes: int, axis_name: str | None = None
) -> nn.Module:
    """Makes the network of a configuration.

    Args:
      config: the run's.
      num_classes: number of outputs.
      axis_name: the pmapped axis over which batch statistics are averaged, if any.

    Raises:
      UserError: if the network cannot be made.
    """
    return config.recogniser.make(
        config.settings,
        num_classes=num_classes,
        axis_name=axis_name,
        dtype=jnp.bfloat16 if config.settings.precision == "bf16" else None,
    )


def make_optimizer(config: TrainConfig) -> tuple[optax.GradientTransformation, Rate]:
    """The optimiser of section 4.3, before its rate, and its rate.

    The rate follows a cosine to 0 over the run. It is apart from the optimiser since
    runs that share one compilation may differ in their number of steps.

    ``adam_warmup`` is what the paper's reference [22] (Ma and Yarats) finds as good as
    RAdam: Adam under a linear warm-up of 2 / (1 - beta2) steps, untuned.
    """
    cosine = optax.cosine_decay_schedule(config.settings.learning_rate, 1)
    beta2 = 0.999

    def rate(step, total_steps):
        return cosine(step / total_steps)

    def warmed_up(step, total_steps):
        warmth = jnp.minimum(1.0, (step + 1) * (1 - beta2) / 2)
        return rate(step, total_steps) * warmth

    if config.settings.optimizer == "radam":
        return optax.scale_by_radam(b2=beta2), rate
    return optax.scale_by_adam(b2=beta2), warmed_up


def init_state(
    key: jax.Array,
    total_steps: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    clip_shape: Sequence[int],
) -> TrainState:
    """A state drawn from ``key`` for clips [T, H, W, 3] and so many steps."""
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
    parts: int = 1,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update.

    Args:
      state: before it.
      batch: ``clip`` uint8 [B, T, H, W, 3] and ``label`` int32 [B]; under an axis this
        device's share of the batch.
      model: its ``axis_name`` says whether and over which axis to average.
      optimizer: as ``make_optimizer`` made it.
      rate: likewise.
      network_input: prepares and mirrors the clips.
      flip: whether to mirror clips at random.
      parts: computed one after another, each B / parts of the clips with batch
        statistics of its own; the gradient is the mean over all.

    Returns:
      The state after it, and sums over the batch: ``loss``, ``correct``, ``clips``; and
      ``diverged``, whether the state has.
    """
    axis = model.axis_name
    keys = _dropout_keys(state, parts, axis)
    coins = _coins(state, len(batch["label"]), parts, axis) if flip else None

    def mean_loss(params, batch_stats, clips, labels, dropout_key):
        logits, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            clips,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (losses.sum(), logits, updated.get("batch_stats", {}))

    def part_of(batch_stats, part, dropout_key):
        clips = network_input.prepare(part["clip"])
        if flip:
            clips = augmentation.flip(clips, part["coin"], network_input.mirror)
        gradient, (loss, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(
            state.params, batch_stats, clips, part["label"], dropout_key
        )
        sums = {
            "loss": loss,
            "correct": (logits.argmax(-1) == part["label"]).sum(),
            "clips": jnp.array(len(clips)),
        }
        return batch_stats, (gradient, sums)

    if flip:
        batch = batch | {"coin": coins}
    if parts == 1:
        batch_stats, (gradient, sums) = part_of(state.batch_stats, batch, keys[0])
    else:
        divided = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
        gradient, sums = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(part_of, state.batch_stats, _first(divided), keys[0])[1],
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
        # batch_stats are equal already: the model averages what they are made of.
        gradient = jax.lax.pmean(gradient, axis)
        sums = jax.lax.psum(sums, axis)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    step_size = -rate(state.step, state.total_steps)
    updates = jax.tree.map(lambda update: step_size * update, updates)
    after = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    # A gradient that is not finite shows in the moments.
    finite = jax.tree.map(lambda x: jnp.isfinite(x).all(), (after, sums["loss"]))
    diverged = state.diverged | ~jnp.stack(jax.tree.leaves(finite)).all()
    after = select(diverged, state.replace(diverged=diverged), after)
    return after, sums | {"diverged": diverged}


def select(condition: jax.Array, one, other):
    """Of two trees the one where the condition holds, else the other."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _coins(state: TrainState, share: int, parts: int, axis: str | None) -> jax.Array:
    """Whether to mirror each clip of this device's share [B].

    Drawn for the whole batch, each part of it divided over the devices: they hang on a
    clip's place in the batch and not on the number of devices.
    """
    shares = 1 if axis is None else jax.lax.axis_size(axis)
    place = 0 if axis is None else jax.lax.axis_index(axis)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    coins = jax.random.bernoulli(key, shape=(parts, shares, share // parts))
    return coins[:, place].reshape(share)


def _dropout_keys(state: TrainState, parts: int, axis: str | None) -> jax.Array:
    """Keys [parts] for the dropout of each part of a batch on this device.

    Unlike the coins they depend on the number of devices.
    """
    place = 0 if axis is None else jax.lax.axis_index(axis)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    return jax.random.split(jax.random.fold_in(key, 1 + place), parts)


def _first(tree):
    return jax.tree.map(lambda x: x[0], tree)
