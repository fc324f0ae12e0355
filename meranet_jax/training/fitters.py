"""What fits a recogniser to folds: one interface for networks and descriptors.

The folds of a run, their protocol, seeds, report and processes are the same for every
recogniser; they know this interface only.
"""

import abc
import concurrent.futures
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from meranet_jax.config import TrainConfig
from meranet_jax.data.loading import Clips
from meranet_jax.data.machine import cores
from meranet_jax.recognisers import Descriptor, Network
from meranet_jax.training import fold_progress, loop, precision, trainers
from meranet_jax.training.fold_progress import FoldTask, Selected
from meranet_jax.training.signals import Deferred
from meranet_jax.training.trainers import Trainer, Weights

# Called with the epoch, how many steps were done, and the means of the epoch so far, or
# None where there are none.
OnStep = Callable[[int, int, dict[str, float] | None], None]


class Fitter(abc.ABC):
    """Fits a recogniser to the folds of a run, and predicts with what was fitted.

    Attributes:
      slots: number of folds that are fitted at a time.
      data_parallel: whether several processes fit the same fold.
      devices: those of this process that are used.
      keeps_checkpoints: whether a fold can be resumed within its fitting.
    """

    slots: int = 1
    data_parallel: bool = False
    devices: Sequence[jax.Device]
    keeps_checkpoints: bool = False

    @property
    @abc.abstractmethod
    def weight_shapes(self) -> Weights:
        """Shapes and types of the weights of a fold."""

    @abc.abstractmethod
    def fit(
        self,
        tasks: Sequence[FoldTask],
        *,
        on_step: OnStep,
        on_skip: Callable[[int], None] = lambda steps: None,
        stop: Deferred | None = None,
    ) -> list[Selected]:
        """Fits some folds, at most as many as there are slots.

        Args:
          tasks: the folds.
          on_step: called whenever steps are done.
          on_skip: called with the number of steps that an earlier start did.
          stop: is asked whether to stop.

        Returns:
          What is to be tested, for each fold.

        Raises:
          UserError: if a fold cannot be fitted.
          Interrupted: if ``stop`` was asked; nothing is lost by it.
        """

    @abc.abstractmethod
    def predict(
        self, parts: Sequence[np.ndarray], weights: Sequence[Weights]
    ) -> list[np.ndarray]:
        """Predicts some clips of each fold.

        Args:
          parts: for each fold the indices [N] of its clips.
          weights: of each fold.

        Returns:
          Probabilities for each fold, float32 [N, classes]; NaN where the recogniser's
          output is not finite.
        """

    @abc.abstractmethod
    def count_steps(self, parts: Mapping[str, np.ndarray]) -> int:
        """Counts the steps of fitting to training parts, parallel ones once.

        Args:
          parts: the training part of each fold by the fold's name.

        Raises:
          UserError: if a training part is too small.
        """

    def seconds_per_step(self, train: np.ndarray) -> float | None:
        """Measures a step on clips of a training part; None if that is not known."""
        return None

    def any_process(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process that fits the same fold."""
        return flag

    def compile(self) -> None:
        """Compiles everything, so that a later run finds it."""
        return None


class NetworkFitter(Fitter):
    """Trains a network, folds side by side or one over all devices."""

    keeps_checkpoints = True

    def __init__(
        self,
        config: TrainConfig,
        clips: Clips,
        *,
        folds: int,
        parts: Mapping[str, np.ndarray] | None = None,
        steps_at_once: int | None = None,
        trainer: Trainer | None = None,
    ):
        """Compiles nothing yet.

        Args:
          config: the run's.
          clips: all clips.
          folds: number of folds of the complete run.
          parts: the training part of each fold by the fold's name; they determine the
            steps of an epoch.
          steps_at_once: see ``trainers.make_trainer``.
          trainer: one of the same network that is compiled already.

        Raises:
          UserError: if the devices or the batch do not fit each other, or a training
            part does not fill a batch.
        """
        self._config, self._clips = config, clips
        self.trainer = trainer or trainers.make_trainer(
            config,
            clips,
            folds=folds,
            epoch_steps=max(self._epoch_steps(parts or {}), default=1),
            steps_at_once=steps_at_once,
        )
        self.slots = self.trainer.slots
        self.data_parallel = self.trainer.data_parallel
        self.devices = self.trainer.devices

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

    def predict(self, parts, weights):
        found = []
        for logits in self.trainer.predict(parts, weights):
            finite = np.isfinite(logits).all(-1, keepdims=True)
            found.append(np.where(finite, trainers.probabilities(logits), np.nan))
        return found

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

    Features depend on their own clip alone, so computing those of test clips early
    leaks nothing. The classifier sees the training and the validation part; it selects
    its own settings by cross-validation inside them.
    """

    def __init__(self, config: TrainConfig, clips: Clips):
        """Computes nothing yet."""
        self._recogniser: Descriptor = config.recogniser
        self._config, self._clips = config, clips
        self.slots = cores()
        self.devices = jax.local_devices()[:1]

    @functools.cached_property
    def _features(self) -> np.ndarray:
        """float32 [N, F]."""
        return self._recogniser.features(
            self._clips.clips, self._config.settings, workers=self.slots
        )

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

        def fit(task: FoldTask) -> Selected:
            part = np.sort(np.concatenate([task.train, task.validation]))
            weights, selected = self._recogniser.fit(
                self._config.settings,
                features[part],
                self._clips.labels[part],
                subjects[part],
                seed=task.seed,
                num_classes=len(self._clips.classes),
            )
            return Selected(weights, selected)

        with warnings.catch_warnings():
            # The threads restore the filters in any order, so that some would escape.
            warnings.simplefilter("ignore", UserWarning)
            with concurrent.futures.ThreadPoolExecutor(self.slots) as pool:
                fitted = list(pool.map(fit, tasks))
        on_step(1, 1, None)
        return fitted

    def predict(self, parts, weights):
        return [
            self._recogniser.probabilities(of_fold, self._features[part])
            for part, of_fold in zip(parts, weights, strict=True)
        ]

    def count_steps(self, parts):
        return -(-len(parts) // self.slots)


def make_fitter(
    config: TrainConfig,
    clips: Clips,
    *,
    folds: int,
    parts: Mapping[str, np.ndarray] | None = None,
) -> Fitter:
    """Makes the fitter of a configuration's recogniser; see ``NetworkFitter``."""
    if isinstance(config.recogniser, Network):
        return NetworkFitter(config, clips, folds=folds, parts=parts)
    return DescriptorFitter(config, clips)


def resolve(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with the defaults that depend on this machine.

    Raises:
      UserError: if this machine cannot run it.
    """
    if isinstance(config.recogniser, Network):
        return precision.resolved(config)
    return config
