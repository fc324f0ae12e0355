"""The step and the prediction, compiled for devices; pmap lives here alone.

One fold alone is trained by all devices together, each a share of every batch. Several
folds are trained side by side, one a device and without communication, by the same
step; where there are more folds than devices the same programs serve all of them.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from meranet_jax import data
from meranet_jax.config import TrainConfig, make_model
from meranet_jax.errors import UserError
from meranet_jax.step import TrainState, init_state, make_optimizer, train_step

_AXIS = "batch"
_FOLDS = "folds"

# Parameters and running statistics: what predicts.
Weights = dict[str, dict]


class Trainer:
    """The step and the prediction, compiled once for some devices, and their states.

    Attributes:
      lanes: how many folds it trains at a time: one, or as many as devices.
      devices: what each batch is divided over, or the lanes are on.
      state_shapes: shapes and types of one fold's state.
      rate: the learning rate by step and number of steps.
    """

    def __init__(
        self,
        config: TrainConfig,
        clip_shape: Sequence[int],
        *,
        num_classes: int,
        devices: Sequence[jax.Device],
        side_by_side: bool,
    ):
        """Compiles nothing yet.

        Args:
          config: the run's.
          clip_shape: [T, H, W, 3].
          num_classes: told apart.
          devices: to train on.
          side_by_side: a fold on each, instead of one on all.

        Raises:
          UserError: if the devices do not divide the batch of a single fold.
        """
        self.batch_size = config.batch_size
        self.devices = devices
        self.lanes = len(devices) if side_by_side else 1
        self._side_by_side = side_by_side
        if not side_by_side and self.batch_size % len(devices):
            raise UserError(
                f"--batch_size={self.batch_size} cannot be divided over "
                f"{len(devices)} devices. Choose another batch size, or fewer devices "
                "with --devices."
            )
        make = functools.partial(make_model, config, num_classes=num_classes)
        model = make() if side_by_side else make(axis_name=_AXIS)
        optimizer, self.rate = make_optimizer(config)
        self._init = jax.jit(
            functools.partial(
                init_state, model=make(), optimizer=optimizer, clip_shape=clip_shape
            )
        )
        self.state_shapes = jax.eval_shape(self._init, jax.random.key(0), 1)
        self._states = None
        step = functools.partial(
            train_step,
            model=model,
            optimizer=optimizer,
            rate=self.rate,
            flip=config.flip,
        )

        def lane_step(state, batch, active):
            after, sums = step(state, batch)
            # A fold that has fewer batches than those beside it stands still.
            after = jax.tree.map(functools.partial(jnp.where, active), after, state)
            return after, jax.tree.map(lambda n: jnp.where(active, n, 0), sums)

        def logits(weights, clips):
            return model.apply(weights, data.normalise(clips), train=False)

        pmap = functools.partial(jax.pmap, devices=devices)
        if side_by_side:
            self._placed = NamedSharding(
                Mesh(devices, (_FOLDS,)), PartitionSpec(_FOLDS)
            )
            # Nothing is averaged over this axis; it has a name because pmap takes
            # states that were placed on an axis of another for new ones, and traces
            # again.
            self._step = pmap(lane_step, axis_name=_FOLDS, donate_argnums=(0,))
            self._logits = pmap(logits, axis_name=_FOLDS)
        else:
            self._placed = NamedSharding(Mesh(devices, (_AXIS,)), PartitionSpec())
            self._step = pmap(
                lambda state, batch, active: step(state, batch),
                axis_name=_AXIS,
                in_axes=(None, 0, None),
                # Unchecked by JAX: right only because all that the step returns is
                # averaged or summed over the axis.
                out_axes=None,
                donate_argnums=(0,),
            )
            self._logits = pmap(logits, axis_name=_AXIS, in_axes=(None, 0))

    def start(self, seeds: Sequence[int], total_steps: Sequence[int]) -> None:
        """Draw a state for each lane from its seed; for ``total_steps`` updates."""
        drawn = [
            self._init(jax.random.key(seed), np.int32(steps))
            for seed, steps in zip(seeds, total_steps, strict=True)
        ]
        self.resume([jax.device_get(state) for state in drawn])

    def resume(self, states: Sequence[TrainState]) -> None:
        """Go on from a state for each lane; lanes beyond them stand still."""
        self._states = self._place(states)

    def states(self) -> list[TrainState]:
        """Each lane's state, on the host."""
        states = jax.device_get(self._states)
        if not self._side_by_side:
            return [states]
        return [
            jax.tree.map(lambda leaf, lane=lane: leaf[lane], states)
            for lane in range(self.lanes)
        ]

    def step(
        self, clips: data.Clips, batches: Sequence[np.ndarray | None]
    ) -> dict[str, jax.Array]:
        """One update of each lane that has a batch.

        Args:
          clips: all clips.
          batches: for each lane the indices [B] of its batch, or None to stand still.

        Returns:
          Sums over each lane's batch, still on the devices: [lanes], or of a single
          fold on all devices [].
        """
        active = np.zeros(self.lanes, bool)
        active[: len(batches)] = [batch is not None for batch in batches]
        indices = self._fill(batches)
        batch = {"clip": clips.clips[indices], "label": clips.labels[indices]}
        self._states, sums = self._step(
            self._states, jax.tree.map(self._divide, batch), active
        )
        return sums

    def predict(
        self,
        clips: data.Clips,
        parts: Sequence[np.ndarray],
        weights: Sequence[Weights] | None = None,
    ) -> list[np.ndarray]:
        """Logits of some clips by each lane.

        Args:
          clips: all clips.
          parts: for each lane the indices [N] of any number of clips.
          weights: each lane's; those that are trained unless given.

        Returns:
          float32 [N, classes] for each lane.
        """
        if weights is None:
            placed = weights_of(self._states)
        else:
            placed = self._place(weights)
        results = []
        for start in range(0, max(map(len, parts)), self.batch_size):
            batches = [part[start : start + self.batch_size] for part in parts]
            indices = self._fill(batches)
            logits = self._logits(placed, self._divide(clips.clips[indices]))
            logits = np.asarray(logits).reshape(self.lanes, self.batch_size, -1)
            results.append(
                [row[: len(b)] for row, b in zip(logits, batches, strict=False)]
            )
        return [np.concatenate(lane) for lane in zip(*results, strict=True)]

    def _fill(self, batches: Sequence[np.ndarray | None]) -> np.ndarray:
        """int [lanes, B]; what lacks is filled up, so that one compilation serves."""
        filled = np.zeros((self.lanes, self.batch_size), int)
        for row, batch in zip(filled, batches, strict=False):
            if batch is not None and len(batch):
                row[:] = np.resize(batch, self.batch_size)
        return filled

    def _divide(self, array: np.ndarray) -> np.ndarray:
        """[lanes, B, ...] -> [devices, clips of a device, ...]."""
        return array.reshape(len(self.devices), -1, *array.shape[2:])

    def _place(self, trees: Sequence):
        """A tree for each lane, on the devices as pmap will want it.

        Else it would trace anew for a placement of its own.
        """
        if self._side_by_side:
            idle = [trees[-1]] * (self.lanes - len(trees))
            tree = jax.tree.map(lambda *leaves: np.stack(leaves), *trees, *idle)
        else:
            (tree,) = trees
        return jax.device_put(tree, self._placed)


def weights_of(state: TrainState) -> Weights:
    """What a state predicts with."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def make_trainer(config: TrainConfig, clips: data.Clips, *, folds: int) -> Trainer:
    """The trainer of a run.

    Args:
      config: the run's.
      clips: all clips.
      folds: of the whole run, over all processes and seeds. A single one is divided
        over all devices; else each has one, however many are left to train, so that
        what comes of a fold does not hang on that.

    Raises:
      UserError: if there are fewer devices than asked for, they do not divide the
        batch, or several processes are to train a single fold.
    """
    if jax.process_count() > 1 and folds == 1:
        raise UserError(
            f"{jax.process_count()} processes cannot train a single fold together yet. "
            "Start one process, or choose --protocol=loso, kfold or several --seeds."
        )
    devices = jax.local_devices()
    if config.devices is not None and config.devices > len(devices):
        raise UserError(
            f"--devices={config.devices}, but this process has {len(devices)}."
        )
    return Trainer(
        config,
        clips.clips.shape[1:],
        num_classes=len(clips.classes),
        devices=devices[: config.devices][: folds if folds > 1 else None],
        # On one device a single fold is trained as one of several is, bit by bit.
        side_by_side=folds > 1 or len(devices[: config.devices]) == 1,
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """float32 [N, classes] that add up to one."""
    return np.asarray(jax.nn.softmax(logits))
