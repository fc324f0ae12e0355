"""The train step, the prediction, and the loop around them.

``train_step`` is one pure function. Under ``pmap`` over the batch it is data parallel:
batch statistics, gradients and metrics are averaged over the devices, so that a run
on several computes what a run on one computes. Without an axis it trains by itself.
"""

import functools
import time
from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from meranet_jax import data, protocols
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.config import TrainConfig, make_model
from meranet_jax.errors import UserError
from meranet_jax.model import MERANet

_AXIS = "batch"


@flax.struct.dataclass
class TrainState:
    """All that a step changes.

    Attributes:
      step: steps done, int32.
      params: the network's parameters.
      batch_stats: running means and variances of the batch normalisations.
      opt_state: the optimiser's moments.
      key: draws the flips, folded with the step; a key's data, since a typed key is
        bound to a device wherever it is kept.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    key: jax.Array


def make_optimizer(
    config: TrainConfig, steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser of section 4.3 and its rate, cosine to 0 over ``steps`` updates.

    ``adam_warmup`` is what the paper's reference [22] (Ma and Yarats) finds as good as
    RAdam: Adam under a linear warm-up of 2 / (1 - beta2) steps, untuned.
    """
    cosine = optax.cosine_decay_schedule(config.learning_rate, steps)
    if config.optimizer == "radam":
        return optax.radam(cosine), cosine
    beta2 = 0.999

    def warmed_up(step):
        return cosine(step) * jnp.minimum(1.0, (step + 1) * (1 - beta2) / 2)

    return optax.adam(warmed_up, b2=beta2), warmed_up


def init_state(
    key: jax.Array,
    *,
    model: MERANet,
    optimizer: optax.GradientTransformation,
    clip_shape: Sequence[int],
) -> TrainState:
    """A state drawn from ``key`` for clips [T, H, W, 3]."""
    init_key, flip_key = jax.random.split(key)
    variables = model.init(init_key, jnp.zeros((1, *clip_shape)), train=False)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        key=jax.random.key_data(flip_key),
    )


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    model: MERANet,
    optimizer: optax.GradientTransformation,
    flip: bool,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update.

    Args:
      state: before it.
      batch: ``clip`` uint8 [B, T, H, W, 3] and ``label`` int32 [B]; under an axis this
        device's share of the batch.
      model: its ``axis_name`` says whether and over which axis to average.
      optimizer: as ``make_optimizer`` made it.
      flip: whether to mirror clips at random.

    Returns:
      The state after it, and sums over the batch: ``loss``, ``correct``, ``clips``.
    """
    axis = model.axis_name
    clips = data.normalise(batch["clip"])
    if flip:
        # Coins for the whole batch, of which a device takes its share: they hang on a
        # clip's place in the batch and not on the number of devices.
        shares = 1 if axis is None else jax.lax.axis_size(axis)
        share = 0 if axis is None else jax.lax.axis_index(axis)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        coins = jax.random.bernoulli(key, shape=(shares, len(clips)))[share]
        clips = data.flip(clips, coins)

    def mean_loss(params):
        logits, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            clips,
            train=True,
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return losses.mean(), (losses.sum(), logits, updated["batch_stats"])

    gradient, (loss, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(
        state.params
    )
    metrics = {
        "loss": loss,
        "correct": (logits.argmax(-1) == batch["label"]).sum(),
        "clips": jnp.array(len(clips)),
    }
    if axis is not None:
        # batch_stats are equal already: the model averages what they are made of.
        gradient = jax.lax.pmean(gradient, axis)
        metrics = jax.lax.psum(metrics, axis)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    return state, metrics


class Trainer:
    """The step and the prediction, compiled for some devices, and their state.

    Attributes:
      state: on all devices; None before ``start`` or ``resume``.
      state_shapes: the state's shapes and types.
      schedule: the learning rate by step.
      epoch_steps: updates of an epoch.
      devices: what each batch is divided over.
    """

    def __init__(
        self,
        config: TrainConfig,
        clip_shape: Sequence[int],
        *,
        epoch_steps: int,
        devices: Sequence[jax.Device],
    ):
        """Compiles nothing yet.

        Args:
          config: the run's.
          clip_shape: [T, H, W, 3].
          epoch_steps: updates of an epoch.
          devices: to divide each batch over.

        Raises:
          UserError: if the devices do not divide the batch.
        """
        self.batch_size = config.batch_size
        self.epoch_steps = epoch_steps
        self.devices = devices
        if self.batch_size % len(devices):
            raise UserError(
                f"--batch_size={self.batch_size} cannot be divided over "
                f"{len(devices)} devices. Choose another batch size, or fewer devices "
                "with --devices."
            )
        model = make_model(config, axis_name=_AXIS)
        optimizer, self.schedule = make_optimizer(config, config.epochs * epoch_steps)
        self._init = functools.partial(
            init_state,
            jax.random.key(config.seed),
            model=make_model(config),
            optimizer=optimizer,
            clip_shape=clip_shape,
        )
        self.state_shapes = jax.eval_shape(self._init)
        self.state = None
        self._everywhere = NamedSharding(Mesh(devices, (_AXIS,)), PartitionSpec())
        self._step = jax.pmap(
            functools.partial(
                train_step, model=model, optimizer=optimizer, flip=config.flip
            ),
            axis_name=_AXIS,
            in_axes=(None, 0),
            # Unchecked by JAX: right only because all that the step returns is
            # averaged or summed over the axis.
            out_axes=None,
            devices=devices,
            donate_argnums=(0,),
        )

        def logits(state, clips):
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            return model.apply(variables, data.normalise(clips), train=False)

        self._logits = jax.pmap(
            logits, axis_name=_AXIS, in_axes=(None, 0), devices=devices
        )

    def start(self) -> None:
        """Draw the state from the seed."""
        self.resume(jax.jit(self._init)())

    def resume(self, state: TrainState) -> None:
        """Go on from ``state``."""
        # Placed once on all devices; else pmap would trace anew for its own placement.
        self.state = jax.device_put(state, self._everywhere)

    def step(self, clips: np.ndarray, labels: np.ndarray) -> dict[str, jax.Array]:
        """One update with a batch; returns its sums, still on the device."""
        batch = {"clip": self._divide(clips), "label": self._divide(labels)}
        self.state, metrics = self._step(self.state, batch)
        return metrics

    def predict(self, clips: np.ndarray) -> np.ndarray:
        """Logits float32 [N, classes] for clips uint8 [N, T, H, W, 3], any number."""
        results = []
        for start in range(0, len(clips), self.batch_size):
            batch = clips[start : start + self.batch_size]
            # The last batch is filled up, so that one compilation serves all.
            full = np.resize(batch, (self.batch_size, *batch.shape[1:]))
            logits = np.asarray(self._logits(self.state, self._divide(full)))
            results.append(logits.reshape(self.batch_size, -1)[: len(batch)])
        return np.concatenate(results)

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """As ``predict``, but float32 [N, classes] that add up to one."""
        return np.asarray(jax.nn.softmax(self.predict(clips)))

    def _divide(self, array: np.ndarray) -> np.ndarray:
        """[B, ...] -> [devices, B / devices, ...]."""
        return array.reshape(len(self.devices), -1, *array.shape[1:])


def make_trainer(
    config: TrainConfig, clips: data.Clips, fold: protocols.Fold
) -> Trainer:
    """The trainer of a run.

    Raises:
      UserError: if there are fewer devices than asked for, they do not divide the
        batch, or the training part does not fill one.
    """
    devices = jax.local_devices()
    if config.devices is not None and config.devices > len(devices):
        raise UserError(
            f"--devices={config.devices}, but this machine has {len(devices)}."
        )
    epoch_steps = len(fold.train) // config.batch_size
    if epoch_steps == 0:
        raise UserError(
            f"The training part has {len(fold.train)} clips, less than a batch of "
            f"{config.batch_size}. Choose a smaller --batch_size."
        )
    return Trainer(
        config,
        clips.clips.shape[1:],
        epoch_steps=epoch_steps,
        devices=devices[: config.devices],
    )


def train(
    trainer: Trainer,
    config: TrainConfig,
    clips: data.Clips,
    fold: protocols.Fold,
    checkpoints: Checkpoints,
    *,
    on_step: Callable[[int, dict[str, float]], None],
    on_epoch: Callable[[dict[str, float]], None],
) -> None:
    """Train for the configured epochs and keep the last and the best state.

    The test part of ``fold`` is not looked at.

    Args:
      trainer: holds the state that is trained.
      config: the run's.
      clips: all clips.
      fold: which of them train and which choose the checkpoint.
      checkpoints: where states are kept.
      on_step: called after each step with the epoch and the means so far.
      on_epoch: called after each epoch with its line of metrics.

    Raises:
      UserError: if a loss is no longer finite; the state that gave it is not kept.
    """
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        order = data.epoch_order(fold.train, config.batch_size, config.seed, epoch)
        sums = {"loss": 0.0, "correct": 0, "clips": 0}
        for step, indices in enumerate(order):
            result = trainer.step(clips.clips[indices], clips.labels[indices])
            result = jax.device_get(result)
            _check_finite(result["loss"], f"step {step + 1} of epoch {epoch}")
            sums = {name: sums[name] + result[name].item() for name in sums}
            on_step(epoch, _means(sums))
        seconds = time.perf_counter() - start

        logits = trainer.predict(clips.clips[fold.validation])
        validation = _means(_evaluate(logits, clips.labels[fold.validation]))
        _check_finite(validation["loss"], f"validation after epoch {epoch}")
        training = _means(sums)
        line = {
            "epoch": epoch,
            "step": epoch * len(order),
            "learning_rate": float(trainer.schedule(epoch * len(order) - 1)),
            "train_loss": training["loss"],
            "train_accuracy": training["accuracy"],
            "validation_loss": validation["loss"],
            "validation_accuracy": validation["accuracy"],
            "seconds": seconds,
            "clips_per_second": sums["clips"] / seconds,
        }
        checkpoints.save(
            epoch,
            trainer.state,
            {name: line[name] for name in ("validation_accuracy", "validation_loss")},
        )
        on_epoch(line)


def time_step(
    trainer: Trainer, config: TrainConfig, clips: data.Clips, fold: protocols.Fold
) -> float:
    """Seconds that a step takes here, without compilation; the state is left alone."""
    state = jax.device_get(trainer.state)
    order = data.epoch_order(fold.train, config.batch_size, config.seed, 1)[0]
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(trainer.step(clips.clips[order], clips.labels[order]))
        seconds = time.perf_counter() - start
    trainer.resume(state)
    return seconds


def _check_finite(loss: float, where: str) -> None:
    if not np.isfinite(loss):
        raise UserError(
            f"The loss became {loss} in {where}. A smaller --learning_rate may help; "
            "the checkpoints of the epochs before, if any, are kept."
        )


def _evaluate(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {
        "loss": float(losses.sum()),
        "correct": int((logits.argmax(-1) == labels).sum()),
        "clips": len(labels),
    }


def _means(sums: dict[str, float]) -> dict[str, float]:
    return {
        "loss": sums["loss"] / sums["clips"],
        "accuracy": sums["correct"] / sums["clips"],
    }
