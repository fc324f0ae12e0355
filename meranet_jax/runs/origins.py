"""Origins: the weights that ``--init`` names, and what they were trained on."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import jax
import numpy as np

from meranet_jax import flags, recognisers, weights_file
from meranet_jax.config import Preset, TrainConfig
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.clips import Clips
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.models.settings import architecture, of_architecture
from meranet_jax.recognisers import Network
from meranet_jax.runs import fold_metadata, reader, subjects
from meranet_jax.runs.layout import RunLayout
from meranet_jax.runs.reader import Run
from meranet_jax.runs.subjects import Subjects
from meranet_jax.training import checkpoint, initial_weights
from meranet_jax.training.trainers import Weights
from meranet_jax.weights_file import Metadata

# The value of ``--init`` that names the weights of the package; their folder, with one
# file for an input; and the input of those that are used if none is asked for.
PRETRAINED = "pretrained"
_PRETRAINED_FOLDER = Path(__file__).parents[1] / "pretrained"
_PRETRAINED_INPUT = "flow"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Weights that ``--init`` names.

    Attributes:
      init: the value of ``--init``.
      path: the weights file, or the folder of a fold.
      metadata: what is needed to use the weights; of those of a run without subjects.
      preset: the default of ``--preset``.
      run: the run of the fold; None for a weights file.
      fold: seed and number of the fold.
    """

    init: str
    path: Path
    metadata: Metadata
    preset: Preset
    run: Run | None = None
    fold: tuple[int, int] = (0, 0)

    @property
    def flags(self) -> dict[str, object]:
        """The flags that the weights determine."""
        names = ("model", "input", "frames", "size")
        common = {name: getattr(self.metadata, name) for name in names}
        if self.metadata.flow_method is not None:
            common["flow_method"] = self.metadata.flow_method
        return common | dict(self.metadata.settings)

    def trained_on(self) -> Subjects:
        """Returns the subjects that the weights were trained on.

        Raises:
          UserError: see ``subjects.of_run``.
        """
        if self.run is not None:
            return subjects.of_run(self.run, [self.fold])
        return subjects.of_metadata(self.metadata)


def find(
    init: str, trusted: Collection[str] = (), network_input: str | None = None
) -> Origin:
    """Finds the weights that ``--init`` names.

    Args:
      init: a run folder, a fold's folder in it, a weights file or ``pretrained``.
      trusted: the ``MODULE:NAME`` that a weights file may import.
      network_input: the input that is asked for, which chooses among the weights of
        the package; None for the default.

    Raises:
      UserError: if there are none, or they are not of a network; if the run is not
        finished, or has several folds; if a weights file has other settings than those
        of its architecture, or names a module that is not trusted.
    """
    if init == PRETRAINED:
        return _of_file(init, _pretrained(network_input), trusted)
    path = Path(init).expanduser()
    if path.suffix == ".npz":
        return _of_file(init, path, trusted)
    if path.is_file():
        raise UserError(
            f"--init={init} is not a weights file (.npz). Convert weights of other "
            f"formats first: python -m meranet_jax.convert {init}"
        )
    if not path.is_dir():
        raise UserError(
            f"--init={init} does not exist. Give a run folder, a weights file (.npz) "
            f"or {PRETRAINED}."
        )
    run_path = path.absolute().parent.parent
    if RunLayout(run_path).folds != path.absolute().parent:
        run_path = path
    return _of_run(init, path, run_path)


def _pretrained(network_input: str | None) -> Path:
    """Returns the file of the package for an input, or the default one."""
    for name in (network_input, _PRETRAINED_INPUT):
        file = _PRETRAINED_FOLDER / f"{name}.npz"
        if file.is_file():
            return file
    raise UserError(
        f"--init={PRETRAINED}: this installation has no pretrained weights, which "
        f"are in {_PRETRAINED_FOLDER}. Give a run folder or a weights file (.npz)."
    )


def _of_file(init: str, path: Path, trusted: Collection[str]) -> Origin:
    _, metadata = weights_file.load(path)
    network = recognisers.find_network(
        metadata.model,
        metadata.settings,
        f"--init={init}",
        trusted=trusted,
        advice="If you trust it, name it with --model or --attentions, too.",
    )
    settings = of_architecture(network, metadata.settings, f"--init={init}")
    metadata = dataclasses.replace(metadata, settings=architecture(settings))
    return Origin(init, path, metadata, _preset(network, metadata))


def _preset(network: Network, metadata: Metadata) -> Preset:
    """Returns ``paper`` for a network as the paper has it, otherwise ``small``."""
    is_default = architecture(network.settings()) == dict(metadata.settings)
    return "small" if "small" in network.presets and not is_default else "paper"


def _of_run(init: str, path: Path, run_path: Path) -> Origin:
    if not RunLayout(run_path).config.is_file():
        raise UserError(
            f"--init={init} is not a run folder. Expected a run folder, the folder of "
            f"a fold in it, a weights file (.npz) or {PRETRAINED}."
        )
    run = reader.read(run_path)
    config = run.config
    recognisers.find_network(
        config.model, {}, f"--init={init}", trusted=None, advice=""
    )
    finished = run.finished()
    folders = {key: fold.path for key, (fold, _) in finished.items()}
    if path != run_path:
        chosen = [k for k, f in folders.items() if f.absolute() == path.absolute()]
        if not chosen:
            raise UserError(f"--init={init}: this fold of {run_path} is not finished.")
    elif len(run.folds) > 1:
        listed = [f"--init={folder}" for folder in folders.values()]
        raise UserError(
            f"--init={init}: this run has {len(run.folds)} folds, each with weights of "
            f"its own. Choose one: {', '.join(listed[:3])}{' ...' * bool(listed[3:])}"
        )
    elif not folders:
        raise UserError(
            f"--init={init}: this run is not finished. Start its train.py command "
            "again to resume it."
        )
    else:
        chosen = list(folders)
    (fold,) = chosen
    seed, _, name = next(one for one in run.folds if one[:2] == fold)
    metadata = fold_metadata.of_fold(run, seed, name)
    return Origin(init, folders[fold], metadata, config.preset, run, fold)


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """The weights from which the folds of a run start.

    Attributes:
      weights: those of the origin.
      classes: the classes of the origin, in order.
      description: what ``config.json`` says of them: ``init``, ``origin`` (one
        sentence), ``digest``, ``classes``, ``trained_on`` (subjects) and ``frozen``
        layers.
    """

    weights: Weights
    classes: tuple[str, ...]
    description: dict

    @property
    def digest(self) -> str:
        """Digest of the weights and their classes."""
        return self.description["digest"]

    def for_classes(self, config: TrainConfig, classes: ClassSet) -> "InitialWeights":
        """Returns the weights that a run with some classes starts from.

        Layers whose shapes depend on the number of classes are left out unless the
        classes have the same names in the same order. The ``description`` lists them
        as ``drawn``: they are initialised from the seed.

        Raises:
          UserError: if ``--freeze`` names one of them.
        """
        drawn = frozenset()
        if tuple(classes) != self.classes:
            drawn = initial_weights.head(config)
        if both := sorted(drawn & set(self.description["frozen"])):
            raise UserError(
                f"--freeze={config.settings.freeze}: {both[0]} is initialised from the "
                f"seed, since the weights of --init are for {', '.join(self.classes)} "
                f"and this run has {', '.join(classes)}. It must be trained."
            )
        return dataclasses.replace(
            self,
            weights=initial_weights.without(self.weights, drawn),
            description=self.description | {"drawn": sorted(drawn)},
        )

    def check_subjects(self, clips: Clips, jobs: Sequence[Job]) -> None:
        """Checks that the weights were trained on no test subject of any fold.

        Raises:
          UserError: if a test subject can have been among their subjects.
        """
        trained_on = self.description["trained_on"]
        if subjects.UNKNOWN in trained_on:
            raise UserError(
                f"--init={self.description['init']}: it is unknown on which data sets "
                "these weights were trained, so that any test subject can have been "
                "among their subjects. If you know the data sets, name them: python -m "
                "meranet_jax.convert FILE NEW.npz --datasets=NAME,NAME"
            )
        tested = {index for job in jobs for index in job.fold.test.tolist()}
        both = subjects.shared(subjects.of_clips(clips, tested), trained_on)
        if both:
            raise UserError(
                f"--init={self.description['init']}: test subjects of this run can "
                f"have been in the training of these weights: "
                f"{subjects.describe(both)}. A result on them would not be one on new "
                "people. Choose weights that were trained on other people, or with "
                "--split test parts without them."
            )


def load(config: TrainConfig) -> InitialWeights | None:
    """Loads the weights that ``--init`` names; None without ``--init``.

    Raises:
      UserError: if they cannot be read, or are those of another network.
    """
    if config.init is None:
        return None
    named = recognisers.strings(architecture(config.settings))
    origin = find(config.init, (config.model, *named), config.input)
    metadata = origin.metadata
    flags.check_weights(config.init, origin.flags, config.flags())
    shapes = initial_weights.shapes(config, len(metadata.classes))
    if origin.run is not None:
        path = origin.run.layout.find_folds(*origin.fold)[0].weights
        weights = checkpoint.read_weights(path, shapes)
    else:
        weights, _ = weights_file.load(origin.path)
        weights_file.check_shapes(origin.path, weights, shapes, config.title)
    weights = {name: weights.get(name, {}) for name in shapes}
    weights = jax.tree.map(lambda w, s: np.asarray(w, s.dtype), weights, shapes)
    return InitialWeights(
        weights,
        metadata.classes,
        {
            "init": config.init,
            "origin": metadata.origin.rstrip("."),
            "digest": _digest(weights, metadata.classes),
            "classes": list(metadata.classes),
            "trained_on": origin.trained_on(),
            "frozen": sorted(initial_weights.frozen(config, weights)),
        },
    )


def _digest(weights: Weights, classes: Sequence[str]) -> str:
    digest = hashlib.blake2b(json.dumps(list(classes)).encode(), digest_size=16)
    for name, array in weights_file.flatten(weights).items():
        digest.update(json.dumps([name, array.shape, str(array.dtype)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
