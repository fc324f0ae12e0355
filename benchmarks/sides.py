"""The two that are compared: ours, and PyTorch at its fastest.

Both start from uint8 clips that lie on the device, normalise them and do the same step
from the same weights. ``forward`` and ``step`` return as soon as their framework does;
``wait`` ends when the result is there.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import rows
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.data import loading
from meranet_jax.models.settings import Precision
from meranet_jax.training import trainers, xla

xla.use_all_cores()

What = Literal["step", "forward"]

CLASSES = 3
_RATE = 1e-3
# Of the cosine; so many that the rate stays what PyTorch has.
_STEPS = 1_000_000
# Where the two keep what they compiled.
_CACHES = ("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
# How far results may lie apart, as a share of the largest.
_TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


def case(preset: Preset, **changes: Any) -> TrainConfig:
    """The network, the input and the step that are measured."""
    config = default_config("synthetic", preset)
    return config.change(learning_rate=_RATE, **changes)


def batch(config: TrainConfig) -> dict[str, np.ndarray]:
    """``clip`` uint8 [B, T, H, W, 3] and ``label`` int32 [B], always the same."""
    shape = (config.settings.batch_size, config.frames, config.size, config.size, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = (np.arange(config.settings.batch_size) % CLASSES).astype(np.int32)
    return {"clip": clips, "label": labels}


def allow(precision: Precision) -> None:
    """Tell JAX what its products may be computed in.

    Raises:
      SystemExit: if this machine has no such precision.
    """
    on_cpu = jax.default_backend() == "cpu"
    if precision == "tf32" and on_cpu:
        raise SystemExit("error: --precision=tf32 needs an NVIDIA GPU; take fp32.")
    if not on_cpu:
        name = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": None}[precision]
        jax.config.update("jax_default_matmul_precision", name)


class Ours:
    """meranet_jax as ``train.py`` runs it, on all devices that divide the batch.

    Attributes:
      variables: the weights it starts with, on the host.
    """

    def __init__(self, config: TrainConfig, precision: Precision = "fp32"):
        """Draws the weights; compiles nothing yet.

        Raises:
          SystemExit: if this machine has no such precision.
        """
        allow(precision)
        config = config.change(precision=precision, flip=False)
        given = batch(config)
        numbers = tuple(map(str, range(config.settings.batch_size)))
        clips = loading.Clips(
            given["clip"],
            given["label"],
            clip_ids=numbers,
            subjects=numbers,
            datasets=numbers,
            emotions=numbers,
            classes={str(n): (str(n),) for n in range(CLASSES)},
            left_out={},
        )
        self._trainer = trainers.make_trainer(config, clips, folds=1)
        self._trainer.set_states([self._trainer.initial_state(0, _STEPS)])
        weights = self._trainer.weights()
        self.variables = weights["params"], weights["batch_stats"]
        self._order = np.arange(config.settings.batch_size)

    def forward(self) -> np.ndarray:
        """Logits [B, classes]."""
        return self._trainer.predict([self._order])[0]

    def step(self) -> jax.Array:
        """The loss before the step, summed over the batch."""
        (sums,) = self._trainer.train([self._order[None]])
        return sums["loss"]

    def wait(self, result: jax.Array) -> None:
        """Until the result is there."""
        jax.block_until_ready(result)

    def numbers(self, what: What, result: jax.Array) -> np.ndarray:
        """The result on the host; of a step the mean loss."""
        if what == "forward":
            return np.asarray(result)
        return np.asarray(result).sum() / len(self._order)


class Torch:
    """PyTorch as ``mode`` runs it: ``channels_last_3d``, cuDNN by trial, autocast."""

    def __init__(
        self,
        config: TrainConfig,
        precision: Precision = "fp32",
        *,
        mode: str = "eager",
        variables: tuple[dict, dict] | None = None,
    ):
        """Compiles nothing yet.

        Args:
          config: the network, the input and the step.
          precision: bf16 is autocast, as PyTorch's users have it.
          mode: see ``torch_reference.modes``.
          variables: the weights it starts with, as ``Ours.variables``.
        """
        import torch

        from benchmarks import torch_reference

        self._torch, self._mode = torch, mode
        torch_reference.allow(precision)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = torch_reference.MERANet(
            CLASSES,
            attention=config.model == "meranet",
            width=config.settings.width,
            stage_sizes=config.settings.stage_sizes,
            **{
                name: getattr(config.settings, name)
                for name in ("reduction", "kernel_size", "shared")
                if config.model == "meranet"
            },
            shortcut=config.settings.shortcut,
        )
        if variables is not None:
            torch_reference.load(self._model, *variables)
        self._model.to(self._device, memory_format=torch.channels_last_3d)
        self._optimizer = torch.optim.RAdam(
            self._model.parameters(), _RATE, foreach=self._device == "cuda" or None
        )
        given = batch(config)
        self._clips = torch.from_numpy(given["clip"]).to(self._device)
        self._labels = torch.from_numpy(given["label"]).long().to(self._device)

        def logits(clips):
            with torch_reference.autocast(precision):
                return self._model(torch_reference.normalise(clips)).float()

        def loss(clips, labels):
            return torch.nn.functional.cross_entropy(logits(clips), labels)

        self._logits = torch_reference.compiled(logits, mode)
        self._loss = torch_reference.compiled(loss, mode)

    def forward(self):
        """Logits [B, classes]."""
        self._begin()
        self._model.eval()
        with self._torch.inference_mode():
            return self._logits(self._clips)

    def step(self):
        """The loss before the step."""
        self._begin()
        self._model.train()
        self._optimizer.zero_grad()
        loss = self._loss(self._clips, self._labels)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def wait(self, result) -> None:
        """Until the result is there."""
        if self._device == "cuda":
            self._torch.cuda.synchronize()

    def numbers(self, what: What, result) -> np.ndarray:
        """The result on the host; of a step the loss."""
        return result.cpu().numpy()

    def _begin(self) -> None:
        if self._mode != "eager":  # what CUDA graphs returned before may be overwritten
            self._torch.compiler.cudagraph_mark_step_begin()


@contextlib.contextmanager
def cold():
    """Both keep what they compile for this run's processes and no longer.

    So both start cold, and a process that only looks at the memory need not compile.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kept = {name: f"{folder}/{name}" for name in _CACHES}
        before = {name: os.environ.get(name) for name in _CACHES}
        os.environ.update(kept)
        jax.config.update("jax_compilation_cache_dir", kept[_CACHES[0]])
        try:
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", before[_CACHES[0]])
            for name in _CACHES:
                del os.environ[name]
            os.environ.update({n: value for n, value in before.items() if value})


def run(side: Ours | Torch, what: What, times: int = 1) -> object:
    """So many of them one behind the other, and then wait for the last."""
    for _ in range(times):
        result = getattr(side, what)()
    side.wait(result)
    return result


def timed(
    ways: Mapping[str, Ours | Torch], what: What, repetitions: int
) -> dict[str, np.ndarray]:
    """Seconds of one, by way, for each repetition; the ways take turns.

    An accelerator does several between two waits, which keeps it busy.
    """
    times = _burst()
    seconds = rows.alternate(
        {name: partial(run, side, what, times) for name, side in ways.items()},
        repetitions,
    )
    return {name: values / times for name, values in seconds.items()}


def _burst() -> int:
    return 1 if jax.default_backend() == "cpu" else 10


def first(side: Ours | Torch, what: What) -> tuple[float, np.ndarray]:
    """The first of its kind: seconds with compilation, and the result."""
    start = time.perf_counter()
    result = run(side, what)
    return time.perf_counter() - start, side.numbers(what, result)


def opponent(
    config: TrainConfig,
    precision: Precision,
    what: What,
    *,
    variables: tuple[dict, dict],
    expected: np.ndarray,
    modes: Sequence[str],
) -> tuple[Torch, str, float]:
    """PyTorch as it is fastest here, having computed what we computed.

    Args:
      config: the network, the input and the step.
      precision: of both.
      what: what it has to be fast at.
      variables: the weights that we started with.
      expected: what we computed first from these.
      modes: of ``torch_reference.modes``; each is tried.

    Returns:
      It, its mode, and how many seconds its first call took.

    Raises:
      AssertionError: if it computed something else.
    """
    found = []
    for mode in modes:
        side = Torch(config, precision, mode=mode, variables=variables)
        seconds, result = first(side, what)
        tolerance = _TOLERANCE[precision]
        np.testing.assert_allclose(
            result,
            expected,
            rtol=tolerance,
            atol=tolerance * float(np.abs(expected).max()),
            err_msg=f"PyTorch ({mode}) and we differ",
        )
        run(side, what)
        trial = timed({mode: side}, what, 3)[mode].min()
        found.append((trial, side, mode, seconds))
        found = [min(found, key=lambda entry: entry[0])]  # the others' memory is freed
    return found[0][1:]


def peak(precision: Precision) -> float:
    """FLOP/s of a large matrix product: the better of JAX's and PyTorch's."""
    import torch

    from benchmarks import torch_reference

    allow(precision)
    torch_reference.allow(precision)
    on_cpu = jax.default_backend() == "cpu"
    size = 2048 if on_cpu else 8192
    half = precision == "bf16"
    array = jnp.ones((size, size), jnp.bfloat16 if half else jnp.float32)
    tensor = torch.ones((size, size), dtype=torch.bfloat16 if half else torch.float32)
    on_gpu = torch.cuda.is_available()
    tensor = tensor.cuda() if on_gpu else tensor
    product = jax.jit(jnp.matmul)

    def ours():
        for _ in range(_burst()):
            result = product(array, array)
        result.block_until_ready()

    def theirs():
        for _ in range(_burst()):
            tensor @ tensor
        if on_gpu:
            torch.cuda.synchronize()

    ours(), theirs()
    seconds = rows.alternate({"ours": ours, "torch": theirs}, 5)
    return _burst() * 2 * size**3 / min(s.min() for s in seconds.values())
