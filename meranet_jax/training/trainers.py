"""Compiled train step and prediction on several devices; the only use of ``pmap``.

A single fold is data parallel: all devices, also those of several processes, train it
together, each with a share of every batch. Several folds are trained in parallel with
the same step, one on each device, without communication. If there are more folds than
devices, the same programs are used for all of them.

On an accelerator one call runs many steps, so that steps do not wait for the host. On a
CPU each call runs one step, since XLA runs a loop of steps no faster than single ones.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from meranet_jax import cores, heap
from meranet_jax.config import TrainConfig
from meranet_jax.data import feed, loading
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.convolution.threads import use_threads
from meranet_jax.training import devices, distributed, precision
from meranet_jax.training.devices import devices_of_all_processes
from meranet_jax.training.programs import Program
from meranet_jax.training.step import (
    TrainState,
    convolution_form,
    init_state,
    make_model,
    make_optimizer,
    make_step,
    select,
)

# Names of the pmap axis: of devices that divide a batch, or that train one fold each.
_AXIS = "batch"
_FOLDS = "folds"

# Maximum number of steps in a call; a run can stop between calls only.
_MAX_STEPS_PER_CALL = 32

# For streamed clips: maximum bytes of clips that a call sends to a device, and minimum
# number of calls in an epoch, so that reading overlaps with computing.
_MAX_CALL_BYTES = 256 << 20
_MIN_CALLS_PER_EPOCH = 4

# Parameters and running statistics, the variables of the network.
Weights = dict[str, dict]


class Trainer:
    """Trains folds and predicts with programs that are compiled once.

    Attributes:
      slots: number of folds trained in parallel: one, or the number of devices.
      threads: number of threads of a convolution on a CPU; None for the default.
      devices: the devices of this process. They divide its share of each batch, or have
        one slot each.
      data_parallel: whether several processes train the same fold, with equal states
        and different shares of each batch.
      state_shapes: shapes and types of the train state of one fold.
      rate: learning rate as a function of the steps done and the total steps.
    """

    def __init__(
        self,
        config: TrainConfig,
        clips: loading.Clips,
        *,
        devices: Sequence[jax.Device],
        fold_parallel: bool,
        steps_per_call: int,
        streams: bool,
        threads: int | None = None,
        initial: Weights | None = None,
    ):
        """Prepares the programs without compiling them.

        Args:
          config: the run's.
          clips: all clips.
          devices: devices of this process to train on.
          fold_parallel: whether each device trains a fold. Otherwise all of them train
            a single fold, with the same number of devices of each other process.
          steps_per_call: number of steps in a call.
          streams: whether clips are sent to the devices when they are needed; otherwise
            all clips are kept on each device.
          threads: number of threads of a convolution on a CPU; see ``use_threads``.
          initial: weights that replace those initialised from the seed, by their
            groups; see ``initial_weights.select``.

        Raises:
          UserError: if the batch cannot be divided over the devices, or into the parts
            of gradient accumulation.
        """
        self.batch_size = config.settings.batch_size
        self.devices = devices
        self.threads = threads
        self.slots = len(devices) if fold_parallel else 1
        self._fold_parallel = fold_parallel
        self._steps_per_call = steps_per_call
        self._parts = config.settings.accumulate
        self.data_parallel = not fold_parallel and jax.process_count() > 1
        all_devices = (
            devices_of_all_processes(len(devices)) if self.data_parallel else devices
        )
        self._shares = 1 if fold_parallel else len(all_devices)
        if self.batch_size % (self._shares * self._parts):
            raise UserError(
                f"--batch_size={self.batch_size} cannot be divided over {self._shares} "
                f"devices in {self._parts} parts. Choose another batch size, "
                "fewer devices with --devices, or another --accumulate."
            )
        network_input = inputs.find(config.input)
        make = functools.partial(make_model, config, num_classes=len(clips.classes))
        model = make() if fold_parallel else make(axis_name=_AXIS)
        optimizer, self.rate = make_optimizer(config)
        self._init = jax.jit(
            functools.partial(
                init_state,
                model=make(),
                optimizer=optimizer,
                clip_shape=network_input.shape(*clips.clips.shape[1:3]),
            ),
            # Fully optimised it took three times as long to compile, and ran as fast.
            compiler_options={"xla_backend_optimization_level": 1}
            if devices[0].platform == "cpu"
            else None,
        )
        self.state_shapes = jax.eval_shape(self._init, jax.random.key(0), 1)
        self._initial = initial or {}
        self._states = None
        axis = _FOLDS if fold_parallel else _AXIS
        mesh = Mesh(devices, (axis,))
        # The sharding of the states must use the name of the pmap axis; otherwise pmap
        # traces the step again.
        pmap = functools.partial(
            jax.pmap, axis_name=axis, devices=all_devices, axis_size=len(all_devices)
        )
        divided, replicated = PartitionSpec(axis), PartitionSpec()
        self._state_sharding = NamedSharding(
            mesh, divided if fold_parallel else replicated
        )
        if streams:
            self._feed = feed.Streamed(clips, NamedSharding(mesh, divided))
        else:
            self._feed = feed.Resident(clips, NamedSharding(mesh, replicated))
        step = make_step(
            config,
            model=model,
            optimizer=optimizer,
            rate=self.rate,
            params=self.state_shapes.params,
        )

        def update(state, clips, indices, active):
            batch = {name: array[indices] for name, array in clips.items()}
            after, sums = step(state, batch)
            # A slot whose fold has no more batches is idle.
            after = select(active, after, state)
            return after, jax.tree.map(lambda n: jnp.where(active, n, 0), sums)

        def traced(function):
            """Decorates a function to be traced for this run's devices."""

            @functools.wraps(function)
            def decorated(*arguments):
                with use_threads(threads):
                    return function(*arguments)

            return precision.with_precision(config)(decorated)

        @traced
        def steps(state, clips, indices, active):
            if steps_per_call == 1:
                state, sums = update(state, clips, indices[0], active[0])
                return state, jax.tree.map(lambda n: n[None], sums)
            return jax.lax.scan(
                lambda state, batch: update(state, clips, *batch),
                state,
                (indices, active),
            )

        @traced
        def logits(weights, clips, indices):
            clips = network_input.prepare(clips["clip"][indices])
            output = model.apply(weights, clips, train=False)
            return output if fold_parallel else jax.lax.all_gather(output, axis)

        # Mapped over devices: indices, streamed clips, and everything else if the folds
        # are parallel.
        slot_axis = 0 if fold_parallel else None
        clip_axis = 0 if streams else None
        self._steps = Program(
            pmap(
                steps,
                in_axes=(slot_axis, clip_axis, 0, slot_axis),
                # JAX does not check None: it is correct because everything that the
                # step returns is averaged or summed over the axis.
                out_axes=slot_axis,
                donate_argnums=(0,),
            )
        )
        self._logits = Program(
            pmap(logits, in_axes=(slot_axis, clip_axis, 0), out_axes=slot_axis)
        )
        self._max = pmap(lambda n: jax.lax.pmax(n, axis), out_axes=None)

    def initial_state(self, seed: int, total_steps: int) -> TrainState:
        """Returns a state on the host, initialised from a seed and initial weights.

        Args:
          seed: of the parameters, flips and dropout.
          total_steps: number of steps of the complete training.
        """
        state = self._init(jax.random.key(seed), np.int32(total_steps))
        state = jax.device_get(state)
        heap.give_back()
        return state.replace(
            **{n: getattr(state, n) | groups for n, groups in self._initial.items()}
        )

    def set_states(self, states: Sequence[TrainState]) -> None:
        """Sets the state of each slot, at most one for each; further slots are idle."""
        self._states = self._place(states)

    def state(self, slot: int = 0) -> TrainState:
        """Returns the state of a slot on the host."""
        return self._fetch(self._states, slot)

    def weights(self, slot: int = 0) -> Weights:
        """Returns the weights of a slot on the host."""
        return self._fetch(weights_of(self._states), slot)

    def train(
        self, orders: Sequence[np.ndarray | None]
    ) -> Iterator[dict[str, jax.Array]]:
        """Trains each slot on some batches, one call of the devices at a time.

        Args:
          orders: for each slot the indices [steps, B] of its batches, or None if the
            slot is idle.

        Yields:
          After each call is dispatched, the sums over the batches of its steps by name
          (see ``train_step``), [slots, steps], on the devices; zero where a slot has no
          batch.
        """
        per_call = self._steps_per_call
        steps = max((len(order) for order in orders if order is not None), default=0)
        steps = -(-steps // per_call) * per_call
        indices = np.zeros((self.slots, steps, self.batch_size), np.int32)
        active = np.zeros((self.slots, steps), bool)
        for slot, order in enumerate(orders):
            if order is not None:
                indices[slot, : len(order)] = order
                active[slot, : len(order)] = True
        calls = [slice(first, first + per_call) for first in range(0, steps, per_call)]
        placed = self._feed.place([self._divide(indices[:, call]) for call in calls])
        for call, (clips, clip_indices) in zip(calls, placed, strict=True):
            mask = active[:, call] if self._fold_parallel else active[0, call]
            self._states, sums = self._steps(self._states, clips, clip_indices, mask)
            yield {
                name: n.reshape(self.slots, per_call)[: len(orders)]
                for name, n in sums.items()
            }

    def predict(
        self, parts: Sequence[np.ndarray], weights: Sequence[Weights] | None = None
    ) -> list[np.ndarray]:
        """Computes the logits of some clips for each slot.

        Args:
          parts: for each slot the indices [N] of its clips, any number.
          weights: of each slot; by default those of the slots' states.

        Returns:
          float32 [N, classes] for each slot.
        """
        placed = weights_of(self._states) if weights is None else self._place(weights)
        padded = -(-max(map(len, parts)) // self.batch_size) * self.batch_size
        indices = np.zeros((self.slots, padded), np.int32)
        for slot, part in enumerate(parts):
            indices[slot, : len(part)] = part
        batches = np.split(indices, padded // self.batch_size, 1)
        if not self._fold_parallel:
            batches = [
                self._local_shares(batch.reshape(self._shares, -1)) for batch in batches
            ]
        logits = [
            self._logits(placed, clips, clip_indices)
            for clips, clip_indices in self._feed.place(batches)
        ]
        shape = (self.slots, self.batch_size, -1)
        slots = np.concatenate([np.asarray(n).reshape(shape) for n in logits], 1)
        return [slot[: len(part)] for slot, part in zip(slots, parts, strict=False)]

    def any_process(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process that trains the same fold."""
        return bool(self.max_over_processes(int(flag)))

    def max_over_processes(self, number: int) -> int:
        """Returns the maximum of a number over the processes that train the same fold.

        All of them must call this, since each waits for the others.
        """
        if not self.data_parallel:
            return number
        return int(self._max(np.full(len(self.devices), number, np.int32)))

    def compile(self) -> None:
        """Compiles all programs by running them on a state that is discarded."""
        self.set_states([self.initial_state(0, 1)] * self.slots)
        order = np.zeros((1, self.batch_size), np.int32)
        jax.block_until_ready(list(self.train([order] * self.slots)))
        self.predict([order[0]] * self.slots)
        self.max_over_processes(0)

    def _divide(self, indices: np.ndarray) -> np.ndarray:
        """Divides batches over devices: [slots, steps, B] -> [devices, steps, share].

        Each part of a batch is divided over all devices, so that its batch statistics
        do not depend on the number of devices.
        """
        if self._fold_parallel:
            return indices
        steps = indices.shape[1]
        parts = indices.reshape(steps, self._parts, self._shares, -1)
        shares = np.moveaxis(parts, 2, 0).reshape(self._shares, steps, -1)
        return self._local_shares(shares)

    def _local_shares(self, shares: np.ndarray) -> np.ndarray:
        """Selects the shares of this process's devices from all, [shares, ...]."""
        if not self.data_parallel:
            return shares
        first = jax.process_index() * len(self.devices)
        return shares[first : first + len(self.devices)]

    def _place(self, trees: Sequence):
        """Places a tree for each slot on the devices, with the sharding that pmap uses.

        With another sharding pmap would trace again.
        """
        if self._fold_parallel:
            idle = [trees[-1]] * (self.slots - len(trees))
            tree = jax.tree.map(lambda *leaves: np.stack(leaves), *trees, *idle)
        else:
            (tree,) = trees
        return jax.device_put(tree, self._state_sharding)

    def _fetch(self, tree, slot: int):
        """Returns a slot's part of a tree on the host."""
        device = self.devices[slot]

        def fetch(leaf):
            (shard,) = (s.data for s in leaf.addressable_shards if s.device == device)
            # A copy: on a CPU a view would be overwritten by the next step.
            array = np.array(shard)
            return array[0] if self._fold_parallel else array

        return jax.tree.map(fetch, tree)


def weights_of(state: TrainState) -> Weights:
    """Returns the weights of a state."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def make_trainer(
    config: TrainConfig,
    clips: loading.Clips,
    *,
    folds: int,
    epoch_steps: int = 1,
    steps_per_call: int | None = None,
    initial: Weights | None = None,
) -> Trainer:
    """Makes the trainer of a run.

    Args:
      config: the run's.
      clips: all clips.
      folds: number of folds of the complete run, over all processes and seeds. A single
        fold is divided over all devices of all processes. Several folds are trained on
        one device each, even if only one is missing, so that a fold's result does not
        depend on the number of missing folds.
      epoch_steps: number of steps in the longest epoch of any fold.
      steps_per_call: number of steps in a call; by default it depends on the devices.
      initial: see ``Trainer``.

    Raises:
      UserError: if there are fewer devices than ``--devices``, or the batch cannot be
        divided.
    """
    used = devices.choose(config, clips, folds)
    streams = feed.should_stream(config, clips, used)
    if folds == 1:
        distributed.check_equal_on_processes(
            "devices",
            {
                "devices": f"{len(used)} x {used[0].device_kind}",
                "--feed": "records" if streams else "device",
                "convolutions": convolution_form(config)
                if used[0].platform == "cpu"
                else None,
            },
        )
    if steps_per_call is None:
        steps_per_call = 1 if used[0].platform == "cpu" else epoch_steps
        calls = -(-steps_per_call // _MAX_STEPS_PER_CALL)
        if streams:
            batch = config.settings.batch_size * clips.inputs.nbytes / len(clips)
            calls_for_bytes = math.ceil(steps_per_call * batch / _MAX_CALL_BYTES)
            calls = max(_MIN_CALLS_PER_EPOCH, calls, calls_for_bytes)
        steps_per_call = -(-steps_per_call // calls)
    return Trainer(
        config,
        clips,
        devices=used,
        # A single fold on one device needs no communication either.
        fold_parallel=folds > 1 or len(used) * jax.process_count() == 1,
        steps_per_call=steps_per_call,
        streams=streams,
        # All cores, unless there is a fold for each device or --devices divides them;
        # then one fold gives the same bits as one of several.
        threads=max(1, cores.count() // len(used))
        if folds == 1 and config.settings.devices is None
        else None,
        initial=initial,
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities, float32 [N, classes], of logits [N, classes]."""
    return np.asarray(jax.nn.softmax(logits))
