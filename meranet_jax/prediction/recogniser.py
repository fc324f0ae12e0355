"""The recogniser that says what candidates resemble: a run, or a weights file."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from meranet_jax import cores, weights_file
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.data import clip_store
from meranet_jax.data.clips import Clips
from meranet_jax.errors import UserError
from meranet_jax.evaluation.calibration import Calibration
from meranet_jax.inputs import registry as inputs
from meranet_jax.inputs.registry import CLIP, ONSET_FRAME
from meranet_jax.models.convolution.threads import use_threads
from meranet_jax.prediction.cutting import ClipSettings, clip_settings
from meranet_jax.recognisers import Network
from meranet_jax.runs import origins, reader, run_calibration
from meranet_jax.runs.reader import Run
from meranet_jax.training import (
    checkpoint,
    fitters,
    initial_weights,
    precision,
    step,
    trainers,
)
from meranet_jax.training.trainers import Weights

# The weights that ship with the package are those of this input: it needs the frames
# of onset and apex only, so that the frame rate of a recording matters little.
_SHIPPED_INPUT = "onset_apex_flow"

# Suffix of the calibration of a weights file, next to it
_CALIBRATION = ".calibration.json"

# Number of clips that a network gets at a time
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """A recogniser with all that is needed to use it on clips of recordings.

    Attributes:
      source: the run folder or the weights file.
      config: its settings.
      classes: names of its classes.
      datasets: names of the data sets that it was trained on; empty if unknown.
      frame_rates: of their recordings, see ``Clips.frame_rates``.
      first_as_onset: see ``Clips``.
      models: number of models, M: the finished folds of a run, for each seed.
      folds: number of all folds, for each seed; 1 for a weights file.
      calibration: how to read its probabilities; None if there is none.
      weights: yields the weights of each model.
    """

    source: Path
    config: TrainConfig
    classes: tuple[str, ...]
    datasets: tuple[str, ...]
    frame_rates: Mapping[str, Sequence[float]]
    first_as_onset: bool
    models: int
    folds: int
    calibration: Calibration | None
    weights: Callable[[], Iterator[Weights]] = dataclasses.field(repr=False)

    @property
    def features(self) -> tuple[str, ...]:
        """The frames of a clip that the input is computed from; see ``Input``."""
        return inputs.find(self.config.input).features

    def clip_settings(self, recorded: float | None) -> ClipSettings:
        """Returns how clips are cut; see ``cutting.clip_settings``.

        If the window of training is unknown and the input is computed from onset and
        apex only, the other frames are for people, who see the whole candidate.
        """
        settings = clip_settings(self.config, self.frame_rates, recorded)
        if settings.rate is None and CLIP not in self.features:
            return dataclasses.replace(settings, sampling="uniform")
        return settings

    def stored(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns what the input stores for a clip; see ``clip_store.make_stored``."""
        if self.first_as_onset:
            features = {**features, ONSET_FRAME: features[CLIP][0]}
        return clip_store.make_stored(
            features,
            size=self.config.size,
            network_input=inputs.find(self.config.input),
            flow_method=self.config.flow_method,
        )

    def probabilities(self, clips: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Returns the probabilities of each model, float32 [M, N, C].

        Args:
          clips: features of N clips, as in ``Cut``.

        Raises:
          UserError: if the weights cannot be read, or give no finite output.
        """
        if not clips:
            return np.zeros((self.models, 0, len(self.classes)), np.float32)
        stored = np.stack([self.stored(one) for one in clips])
        if isinstance(self.config.recogniser, Network):
            predict = functools.partial(self._of_network, stored)
        else:
            of_clips = as_clips(clips, stored, self.classes)
            fitter = fitters.make_fitter(self.config, of_clips, folds=1)
            predict = functools.partial(_of_descriptor, fitter, len(clips))
        predicted = np.stack([predict(weights) for weights in self.weights()])
        if not np.isfinite(predicted).all():
            raise UserError(
                f"{self.source} gives a probability that is not finite. Its weights "
                "cannot be used; train it again with a smaller --learning_rate."
            )
        return predicted.astype(np.float32)

    def _of_network(self, stored: np.ndarray, weights: Weights) -> np.ndarray:
        predicted = []
        for first in range(0, len(stored), _BATCH):
            batch = stored[first : first + _BATCH]
            # The last batch is padded, so that one compilation serves all batches.
            padding = np.repeat(batch[-1:], _BATCH - len(batch), 0)
            logits = self._logits(weights, np.concatenate([batch, padding]))
            predicted.append(trainers.probabilities(np.asarray(logits))[: len(batch)])
        return np.concatenate(predicted)

    @functools.cached_property
    def _logits(self) -> Callable[[Weights, np.ndarray], jax.Array]:
        model = step.make_model(
            self.config.change(remat=False), num_classes=len(self.classes)
        )
        prepare = inputs.find(self.config.input).prepare

        def logits(weights: Weights, stored: np.ndarray) -> jax.Array:
            with use_threads(cores.count()):
                return model.apply(weights, prepare(stored), train=False)

        return jax.jit(precision.with_precision(self.config)(logits))


def _of_descriptor(fitter: fitters.Fitter, clips: int, weights: Weights) -> np.ndarray:
    return fitter.predict([np.arange(clips)], [weights])[0]


def as_clips(
    clips: Sequence[Mapping[str, np.ndarray]],
    stored: np.ndarray,
    classes: Sequence[str],
) -> Clips:
    """Returns clips of recordings in the form of those of data sets.

    Args:
      clips: features of N clips, as in ``Cut``.
      stored: what the input stores for them, [N, ...].
      classes: names of the classes; the labels, which nobody knows, are the first.
    """
    names = tuple(f"candidate {number}" for number in range(1, len(clips) + 1))
    return Clips(
        clips=np.stack([one[CLIP] for one in clips]),
        labels=np.zeros(len(clips), np.int32),
        clip_ids=names,
        subjects=names,
        datasets=("recording",) * len(clips),
        emotions=(classes[0],) * len(clips),
        classes={name: (name,) for name in classes},
        left_out={},
        stored=stored,
        references=np.stack([one[ONSET_FRAME] for one in clips]),
    )


def load(source: str | None, calibration: str | None = None) -> Recogniser:
    """Loads the recogniser that ``--run`` names, with its calibration.

    That of a weights file ``NAME.npz`` is a copy of ``calibration.json`` next to it,
    ``NAME.calibration.json``.

    Args:
      source: a run folder or a weights file; None for the weights that ship with the
        package.
      calibration: a file ``calibration.json`` that is used in place of its own, such as
        one on another data set.

    Raises:
      UserError: if there is none, or it cannot be used.
    """
    found = _find(source)
    if calibration is None:
        return found
    file = Path(calibration).expanduser()
    read = run_calibration.read_of_weights(file, found.classes)
    if read is None:
        raise UserError(
            f"--calibration={calibration} does not exist. Give a calibration.json that "
            "eval.py --calibrate has written."
        )
    return dataclasses.replace(found, calibration=read)


def _find(source: str | None) -> Recogniser:
    if source is None:
        return _of_weights(origins.find(origins.PRETRAINED, (), _SHIPPED_INPUT))
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return _of_weights(origins.find(source))
    if not path.is_dir():
        raise UserError(
            f"--run={source} is not a folder. Give a run folder, which train.py has "
            "written, or a weights file (.npz); without --run the weights that ship "
            "with the package are used."
        )
    return _of_run(reader.read(path))


def _of_run(run: Run) -> Recogniser:
    finished = run.finished()
    if not finished:
        raise UserError(
            f"--run={run.path}: none of its folds is finished. Start its train.py "
            "command again to resume it."
        )
    folders = [finished[key][0] for key in sorted(finished)]
    config = run.config
    classes = tuple(run.classes)

    def weights() -> Iterator[Weights]:
        shapes = _shapes(config, classes)
        for folder in folders:
            yield checkpoint.read_weights(folder.weights, shapes)

    return Recogniser(
        source=run.path,
        config=config,
        classes=classes,
        datasets=config.datasets,
        frame_rates=run.data.get("frame_rates", {}),
        first_as_onset=run.data.get("first_as_onset", False),
        models=len(folders),
        folds=len(run.folds),
        calibration=run_calibration.read_calibration(run),
        weights=weights,
    )


def _of_weights(origin: origins.Origin) -> Recogniser:
    metadata = origin.metadata
    datasets = metadata.datasets or ()
    config = default_config(
        ",".join(datasets) or TrainConfig.dataset,
        origin.preset,
        metadata.model,
        origin.flags,
    )

    def weights() -> Iterator[Weights]:
        shapes = _shapes(config, metadata.classes)
        loaded, _ = weights_file.load(origin.path)
        weights_file.check_shapes(origin.path, loaded, shapes, config.title)
        yield {name: loaded.get(name, {}) for name in shapes}

    return Recogniser(
        source=origin.path,
        config=config,
        classes=metadata.classes,
        datasets=datasets,
        frame_rates={},
        first_as_onset=False,
        models=1,
        folds=1,
        calibration=run_calibration.read_of_weights(
            origin.path.with_suffix(_CALIBRATION), metadata.classes
        ),
        weights=weights,
    )


def _shapes(config: TrainConfig, classes: Sequence[str]) -> Weights:
    """Returns the shapes and types of the weights of a model."""
    recogniser, settings = config.recogniser, config.settings
    if isinstance(recogniser, Network):
        return initial_weights.shapes(config, len(classes))
    return recogniser.weight_shapes(
        settings,
        num_features=recogniser.feature_length(settings),
        num_classes=len(classes),
    )
