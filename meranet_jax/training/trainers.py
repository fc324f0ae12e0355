"""The step and the prediction, compiled for devices; pmap lives here alone.

One fold alone is trained by all devices together, each a share of every batch, also by
those of several processes. Several folds are trained side by side, one a device and
without communication, by the same step; where there are more folds than devices the
same programs serve all of them.

On an accelerator many steps are one call, and no step waits for the host. XLA's CPU
backend runs a loop of steps no faster than single ones, so there each is a call.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from meranet_jax.config import TrainConfig
from meranet_jax.data import feed, loading
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.training import devices, distributed, precision
from meranet_jax.training.step import (
    TrainState,
    init_state,
    make_model,
    make_optimizer,
    select,
    train_step,
)

_AXIS = "batch"
_FOLDS = "folds"

# How many steps are one call at most; a run that is told to stop ends with a call.
_CALL_STEPS = 32

# Bytes of clips that are sent to a device at a time where they are not kept there, and
# into how many pieces an epoch is divided at least: reading goes on beside computing.
_PIECE_BYTES = 256 << 20
_PIECES = 4

# Parameters and running statistics: what predicts.
Weights = dict[str, dict]


class Trainer:
    """The step and the prediction, compiled once for some devices, and their states.

    Attributes:
      slots: how many folds it trains at a time: one, or as many as devices.
      devices: those of this process, over which its share of a batch is divided, or on
        which the slots are.
      together: whether several processes train one fold, each with all that the others
        have but for its share of the batches.
      state_shapes: shapes and types of one fold's state.
      rate: the learning rate by step and number of steps.
    """

    def __init__(
        self,
        config: TrainConfig,
        clips: loading.Clips,
        *,
        devices: Sequence[jax.Device],
        side_by_side: bool,
        steps_at_once: int,
        streams: bool,
    ):
        """Compiles nothing yet.

        Args:
          config: the run's.
          clips: all clips.
          devices: to train on, of this process.
          side_by_side: a fold on each, instead of one on all, and on as many of each
            other process.
          steps_at_once: how many steps are one call.
          streams: whether clips come to the devices as they are needed; else all are
            there.

        Raises:
          UserError: if the batch cannot be divided over the devices of a single fold,
            or into the parts that it is computed in.
        """
        self.batch_size = config.settings.batch_size
        self.devices = devices
        self.slots = len(devices) if side_by_side else 1
        self._side_by_side = side_by_side
        self._steps_at_once = steps_at_once
        self._parts = config.settings.accumulate
        self.data_parallel = not side_by_side and jax.process_count() > 1
        everywhere = _of_all_processes(len(devices)) if self.data_parallel else devices
        self._shares = 1 if side_by_side else len(everywhere)
        if self.batch_size % (self._shares * self._parts):
            raise UserError(
                f"--batch_size={self.batch_size} cannot be divided over {self._shares} "
                f"devices in {self._parts} parts. Choose another batch size, "
                "fewer devices with --devices, or another --accumulate."
            )
        network_input = inputs.find(config.input)
        make = functools.partial(make_model, config, num_classes=len(clips.classes))
        model = make() if side_by_side else make(axis_name=_AXIS)
        optimizer, self.rate = make_optimizer(config)
        self._init = jax.jit(
            functools.partial(
                init_state,
                model=make(),
                optimizer=optimizer,
                clip_shape=network_input.shape(*clips.clips.shape[1:3]),
            )
        )
        self.state_shapes = jax.eval_shape(self._init, jax.random.key(0), 1)
        self._states = None
        axis = _FOLDS if side_by_side else _AXIS
        mesh = Mesh(devices, (axis,))
        # States that were placed on an axis of another name pmap takes for new ones,
        # and traces again. That is why the axis of the folds has one.
        pmap = functools.partial(
            jax.pmap, axis_name=axis, devices=everywhere, axis_size=len(everywhere)
        )
        each, every = PartitionSpec(axis), PartitionSpec()
        self._of_slots = NamedSharding(mesh, each if side_by_side else every)
        if streams:
            self._feed = feed.Streamed(clips, NamedSharding(mesh, each))
        else:
            self._feed = feed.Resident(clips, NamedSharding(mesh, every))
        step = functools.partial(
            train_step,
            model=model,
            optimizer=optimizer,
            rate=self.rate,
            network_input=network_input,
            flip=config.settings.flip,
            parts=config.settings.accumulate,
        )

        def one(state, clips, indices, active):
            batch = {name: array[indices] for name, array in clips.items()}
            after, sums = step(state, batch)
            # A fold that has fewer batches than those beside it stands still.
            after = select(active, after, state)
            return after, jax.tree.map(lambda n: jnp.where(active, n, 0), sums)

        @precision.applied(config)
        def steps(state, clips, indices, active):
            if steps_at_once == 1:
                state, sums = one(state, clips, indices[0], active[0])
                return state, jax.tree.map(lambda n: n[None], sums)
            return jax.lax.scan(
                lambda state, batch: one(state, clips, *batch), state, (indices, active)
            )

        @precision.applied(config)
        def logits(weights, clips, indices):
            clips = network_input.prepare(clips["clip"][indices])
            found = model.apply(weights, clips, train=False)
            return found if side_by_side else jax.lax.all_gather(found, axis)

        # By device: clips that stream, indices; of folds side by side all else too.
        of_slot = 0 if side_by_side else None
        of_clips = 0 if streams else None
        self._steps = pmap(
            steps,
            in_axes=(of_slot, of_clips, 0, of_slot),
            # Where it is None, unchecked by JAX: right only because all that the step
            # returns is averaged or summed over the axis.
            out_axes=of_slot,
            donate_argnums=(0,),
        )
        self._logits = pmap(logits, in_axes=(of_slot, of_clips, 0), out_axes=of_slot)
        self._most = pmap(lambda n: jax.lax.pmax(n, axis), out_axes=None)

    def fresh(self, seed: int, total_steps: int) -> TrainState:
        """A state drawn from a seed, for so many updates; on the host."""
        return jax.device_get(self._init(jax.random.key(seed), np.int32(total_steps)))

    def resume(self, states: Sequence[TrainState]) -> None:
        """Go on from a state for each slot; slots beyond them stand still."""
        self._states = self._place(states)

    def state(self, slot: int = 0) -> TrainState:
        """A slot's state, on the host."""
        return self._fetch(self._states, slot)

    def weights(self, slot: int = 0) -> Weights:
        """What a slot's state predicts with, on the host."""
        return self._fetch(weights_of(self._states), slot)

    def train(
        self, orders: Sequence[np.ndarray | None]
    ) -> Iterator[dict[str, jax.Array]]:
        """Updates of each slot, as they are handed to the devices.

        Args:
          orders: for each slot the indices [steps, B] of its batches, or None to stand
            still; of no slot any steps is nothing to do.

        Yields:
          Of some steps the sums over each slot's batches, see ``train_step``, still on
          the devices: [slots, steps]; zero where a slot has no batch.
        """
        at_once = self._steps_at_once
        most = max((len(order) for order in orders if order is not None), default=0)
        most = -(-most // at_once) * at_once
        indices = np.zeros((self.slots, most, self.batch_size), np.int32)
        active = np.zeros((self.slots, most), bool)
        for slot, order in enumerate(orders):
            if order is not None:
                indices[slot, : len(order)] = order
                active[slot, : len(order)] = True
        pieces = [slice(first, first + at_once) for first in range(0, most, at_once)]
        placed = self._feed.place([self._divide(indices[:, piece]) for piece in pieces])
        for piece, (clips, indices_there) in zip(pieces, placed, strict=True):
            now = active[:, piece] if self._side_by_side else active[0, piece]
            self._states, sums = self._steps(self._states, clips, indices_there, now)
            yield {
                name: n.reshape(self.slots, at_once)[: len(orders)]
                for name, n in sums.items()
            }

    def predict(
        self, parts: Sequence[np.ndarray], weights: Sequence[Weights] | None = None
    ) -> list[np.ndarray]:
        """Logits of some clips by each slot.

        Args:
          parts: for each slot the indices [N] of any number of clips.
          weights: each slot's; those that are trained unless given.

        Returns:
          float32 [N, classes] for each slot.
        """
        if weights is None:
            placed = weights_of(self._states)
        else:
            placed = self._place(weights)
        most = -(-max(map(len, parts)) // self.batch_size) * self.batch_size
        indices = np.zeros((self.slots, most), np.int32)
        for slot, part in enumerate(parts):
            indices[slot, : len(part)] = part
        batches = np.split(indices, most // self.batch_size, 1)
        if not self._side_by_side:
            batches = [self._own(batch.reshape(self._shares, -1)) for batch in batches]
        logits = [
            self._logits(placed, clips, there)
            for clips, there in self._feed.place(batches)
        ]
        logits = [
            np.asarray(n).reshape(self.slots, self.batch_size, -1) for n in logits
        ]
        slots = np.concatenate(logits, 1)
        return [slot[: len(part)] for slot, part in zip(slots, parts, strict=False)]

    def any_process(self, flag: bool) -> bool:
        """Whether it is true in any of the processes that train a fold together."""
        return bool(self.max_over_processes(int(flag)))

    def max_over_processes(self, number: int) -> int:
        """The largest in the processes that train a fold together.

        All of them must ask, since each waits for the others.
        """
        if not self.data_parallel:
            return number
        return int(self._most(np.full(len(self.devices), number, np.int32)))

    def compile(self) -> None:
        """Compile everything, with a state that is thrown away."""
        self.resume([self.fresh(0, 1)] * self.slots)
        order = np.zeros((1, self.batch_size), np.int32)
        jax.block_until_ready(list(self.train([order] * self.slots)))
        self.predict([order[0]] * self.slots)
        self.max_over_processes(0)

    def _divide(self, indices: np.ndarray) -> np.ndarray:
        """[slots, steps, B] -> [devices, steps, clips of a device].

        Each part of a batch is divided over all devices, so that its statistics do not
        hang on how many there are.
        """
        if self._side_by_side:
            return indices
        steps = indices.shape[1]
        parts = indices.reshape(steps, self._parts, self._shares, -1)
        return self._own(np.moveaxis(parts, 2, 0).reshape(self._shares, steps, -1))

    def _own(self, shares: np.ndarray) -> np.ndarray:
        """Of what all devices get, [shares, ...], what those of this process get."""
        if not self.data_parallel:
            return shares
        first = jax.process_index() * len(self.devices)
        return shares[first : first + len(self.devices)]

    def _place(self, trees: Sequence):
        """A tree for each slot, on the devices as pmap will want it.

        Else it would trace anew for a placement of its own.
        """
        if self._side_by_side:
            idle = [trees[-1]] * (self.slots - len(trees))
            tree = jax.tree.map(lambda *leaves: np.stack(leaves), *trees, *idle)
        else:
            (tree,) = trees
        return jax.device_put(tree, self._of_slots)

    def _fetch(self, tree, slot: int):
        """A slot's part of a tree on the devices, on the host."""
        device = self.devices[slot]

        def fetch(leaf):
            (there,) = (s.data for s in leaf.addressable_shards if s.device == device)
            # A copy: on a CPU it would be a view of what the next step writes to.
            array = np.array(there)
            return array[0] if self._side_by_side else array

        return jax.tree.map(fetch, tree)


def _of_all_processes(count: int) -> list[jax.Device]:
    """So many of each, process by process."""
    return [
        device
        for place in range(jax.process_count())
        for device in jax.local_devices(process_index=place)[:count]
    ]


def weights_of(state: TrainState) -> Weights:
    """What a state predicts with."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def make_trainer(
    config: TrainConfig,
    clips: loading.Clips,
    *,
    folds: int,
    epoch_steps: int = 1,
    steps_at_once: int | None = None,
) -> Trainer:
    """The trainer of a run.

    Args:
      config: the run's.
      clips: all clips.
      folds: of the whole run, over all processes and seeds. A single one is divided
        over all devices of all; else each has one, however many are left to train, so
        that what comes of a fold does not hang on that.
      epoch_steps: of the longest epoch of any fold.
      steps_at_once: how many steps are one call; by default what suits the devices.

    Raises:
      UserError: if there are fewer devices than asked for, or the batch cannot be
        divided.
    """
    used = devices.choose(config, clips, folds)
    streams = feed.streams(config, clips, used)
    if folds == 1:
        distributed.check_alike(
            "devices",
            {
                "devices": f"{len(used)} x {used[0].device_kind}",
                "way of feeding (--feed)": "records" if streams else "device",
            },
        )
    if steps_at_once is None:
        steps_at_once = 1 if used[0].platform == "cpu" else epoch_steps
        pieces = -(-steps_at_once // _CALL_STEPS)
        if streams:
            batch = config.settings.batch_size * math.prod(clips.clips.shape[1:])
            pieces = max(_PIECES, pieces, -(-steps_at_once * batch // _PIECE_BYTES))
        steps_at_once = -(-steps_at_once // pieces)
    return Trainer(
        config,
        clips,
        devices=used,
        # On one device a single fold is trained as one of several is, bit by bit.
        side_by_side=folds > 1 or len(used) * jax.process_count() == 1,
        steps_at_once=steps_at_once,
        streams=streams,
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """float32 [N, classes] that add up to one."""
    return np.asarray(jax.nn.softmax(logits))
