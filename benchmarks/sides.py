"""The two sides of a comparison: this project, and PyTorch in its fastest mode.

Both start from uint8 clips on the device, normalise them and do the same step from the
same weights. ``forward`` and ``step`` may return before the result is computed;
``wait`` blocks until it is.
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
from meranet_jax.models.convolution import lowerings
from meranet_jax.models.settings import Precision
from meranet_jax.training import trainers, xla

xla.use_all_cores()

What = Literal["step", "forward"]

CLASSES = 3
_RATE = 1e-3
# Number of steps of the cosine schedule; with so many the learning rate is constant, as
# for PyTorch.
_STEPS = 1_000_000
# Environment variables of the compilation caches.
_CACHES = ("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
# Largest difference of results, relative to the largest value.
_TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


def case(preset: Preset, **changes: Any) -> TrainConfig:
    """Returns the configuration of the network, the input and the step.

    Args:
      preset: the preset.
      **changes: flags with other values.
    """
    config = default_config("synthetic", preset)
    return config.change(learning_rate=_RATE, **changes)


def batch(config: TrainConfig) -> dict[str, np.ndarray]:
    """Returns a fixed batch: ``clip`` uint8 [B, T, H, W, 3], ``label`` int32 [B]."""
    shape = (config.settings.batch_size, config.frames, config.size, config.size, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = (np.arange(config.settings.batch_size) % CLASSES).astype(np.int32)
    return {"clip": clips, "label": labels}


def allow(precision: Precision) -> None:
    """Sets the precision of JAX's matrix products.

    Raises:
      SystemExit: if this machine does not support it.
    """
    on_cpu = jax.default_backend() == "cpu"
    if precision == "tf32" and on_cpu:
        raise SystemExit("error: --precision=tf32 needs an NVIDIA GPU. Choose fp32.")
    if not on_cpu:
        name = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": None}[precision]
        jax.config.update("jax_default_matmul_precision", name)


def convolution(precision: Precision) -> str:
    """Returns the form of the convolutions of ``Ours``."""
    if jax.default_backend() != "cpu":
        return "primitive"
    return lowerings.choose(jnp.bfloat16 if precision == "bf16" else jnp.float32)


class Ours:
    """This project as ``train.py`` uses it, on all devices that divide the batch.

    Attributes:
      variables: the initial weights, on the host.
      devices: number of devices that a step uses.
    """

    def __init__(self, config: TrainConfig, precision: Precision = "fp32"):
        """Initialises the weights; compiles nothing yet.

        Raises:
          SystemExit: if this machine does not support the precision.
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
        self.devices = len(self._trainer.devices)
        self._order = np.arange(config.settings.batch_size)

    def forward(self) -> np.ndarray:
        """Computes logits [B, classes]."""
        return self._trainer.predict([self._order])[0]

    def step(self) -> jax.Array:
        """Does a training step; returns the loss before it, summed over the batch."""
        (sums,) = self._trainer.train([self._order[None]])
        return sums["loss"]

    def wait(self, result: jax.Array) -> None:
        """Waits until a result is computed."""
        jax.block_until_ready(result)

    def numbers(self, what: What, result: jax.Array) -> np.ndarray:
        """Copies a result to the host; that of a step becomes the mean loss."""
        if what == "forward":
            return np.asarray(result)
        return np.asarray(result).sum() / len(self._order)


class Torch:
    """PyTorch with ``channels_last_3d``, cuDNN autotuning and autocast."""

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
          precision: precision of the computation; bf16 uses autocast.
          mode: see ``torch_reference.modes``.
          variables: initial weights, such as ``Ours.variables``. Default: PyTorch's.
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
        """Computes logits [B, classes]."""
        self._begin()
        self._model.eval()
        with self._torch.inference_mode():
            return self._logits(self._clips)

    def step(self):
        """Does a training step; returns the mean loss before it."""
        self._begin()
        self._model.train()
        self._optimizer.zero_grad()
        loss = self._loss(self._clips, self._labels)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def wait(self, result) -> None:
        """Waits until a result is computed."""
        if self._device == "cuda":
            self._torch.cuda.synchronize()

    def numbers(self, what: What, result) -> np.ndarray:
        """Copies a result to the host."""
        return result.cpu().numpy()

    def _begin(self) -> None:
        if self._mode != "eager":  # results of earlier CUDA graphs may be overwritten
            self._torch.compiler.cudagraph_mark_step_begin()


@contextlib.contextmanager
def cold():
    """Uses empty compilation caches that are deleted at the end.

    Both frameworks start without compiled programs, and processes that measure memory
    reuse the programs that were compiled meanwhile.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        caches = {name: f"{folder}/{name}" for name in _CACHES}
        before = {name: os.environ.get(name) for name in _CACHES}
        os.environ.update(caches)
        jax.config.update("jax_compilation_cache_dir", caches[_CACHES[0]])
        try:
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", before[_CACHES[0]])
            for name in _CACHES:
                del os.environ[name]
            os.environ.update({n: value for n, value in before.items() if value})


def run(side: Ours | Torch, what: What, times: int = 1) -> object:
    """Runs steps or forward passes, waits for the last result and returns it."""
    for _ in range(times):
        result = getattr(side, what)()
    side.wait(result)
    return result


def timed(
    ways: Mapping[str, Ours | Torch], what: What, repetitions: int
) -> dict[str, np.ndarray]:
    """Measures steps or forward passes in turns.

    On an accelerator each measurement contains several, which keep it busy.

    Returns:
      Seconds of one step or forward pass, float64 [repetitions] by name.
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
    """Runs a first step or forward pass; returns its seconds and its result.

    The seconds include compilation.
    """
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
    """Returns PyTorch in its fastest mode, after comparing its results with ours.

    Args:
      config: the network, the input and the step.
      precision: precision of the computation.
      what: what is measured.
      variables: the initial weights.
      expected: the first result of ``Ours`` with these weights.
      modes: the modes to try, see ``torch_reference.modes``.

    Returns:
      The side, its mode, and the seconds of its first call.

    Raises:
      AssertionError: if a result differs from ``expected``.
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
        found = [
            min(found, key=lambda entry: entry[0])
        ]  # frees the memory of the others
    return found[0][1:]


def peak(precision: Precision) -> float:
    """Measures FLOP/s of a large matrix product, the maximum of JAX and PyTorch."""
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
