"""Cross-data-set evaluation: the weights of a run, tested on another data set."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

import jax
import numpy as np
import tyro

from meranet_jax import files, recipes
from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets
from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.clips import Clips
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures, predictions, summary
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import (
    cross_text,
    provenance,
    reader,
    subjects,
    train_run,
    verification,
    window_text,
    writer,
)
from meranet_jax.runs.layout import CROSS_FIGURES
from meranet_jax.runs.reader import Run
from meranet_jax.runs.subjects import Subjects
from meranet_jax.runs.train_run import Prepare
from meranet_jax.training import checkpoint, fitters

# Settings of a run that belong to its data sets, and not to another one.
_OF_DATASET = ("manual_dir", "release", "table", "sizes", "apex", "expressions")
_OF_DATASET += ("camera", "leave_out", "split", "train_datasets", "test_datasets")


@dataclasses.dataclass(frozen=True)
class Target:
    """Another data set, and how it is read. The fields are flags of ``eval.py``."""

    dataset: str | None = None
    """With --run: another data set, on which to test the weights of the run. Clips are
    made as the run's: --sampling, --frames, --size, --margin. With --predictions: the
    data set of the clips."""
    classes: str | None = None
    """With --dataset: the classes of the run to test. A list of them:
    disgust,happiness. megc3, or a JSON file: emotions of --dataset for classes of the
    run. Default: all that have clips in --dataset, by the emotions that they have in
    the run. With --predictions: as in train.py."""
    manual_dir: str | None = None
    """With --dataset: folder of your copy of a licensed data set. It is needed once, to
    write its records."""
    crop: Literal["default", "auto", "provided", "detect", "none"] | None = None
    """With --dataset: source of the face crops, see train.py --help. default: that of
    the data set, with its margin. Default: the run's; with --predictions, that of the
    data set."""
    release: str | None = None
    """With --dataset: release of a licensed data set."""
    table: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --dataset: file name of the data set's table. It may be given several
    times."""
    sizes: Literal["same", "any"] | None = None
    """With --dataset: clips whose frames differ in size, see train.py --help. Default:
    same."""
    apex: Literal["table", "middle", "spotted"] | None = None
    """With --dataset: what replaces an apex that is not given in a table, see train.py
    --help. Default: middle."""
    expressions: str | None = None
    """With --dataset: kind of expressions of cas_me_2: micro, macro or both."""
    camera: str | None = None
    """With --dataset: camera of the recordings of smic: HS, VIS or NIR."""
    label: str | None = None
    """With --dataset: record field used as the class label. Default: emotion."""

    def given(self) -> dict[str, object]:
        """Returns the flags that are given, by name."""
        return {n: value for n, value in vars(self).items() if value not in (None, ())}


def evaluate(
    run: Run,
    target: Target,
    prepare: Prepare,
    *,
    data_dir: str | None = None,
    track: Callable[[Sequence], Iterable] = iter,
) -> dict:
    """Tests the weights of each fold and seed of a run on all clips of a data set.

    It writes predictions, figures and report to ``cross/`` in the run folder, and
    replaces those of an earlier evaluation on the same data set.

    Args:
      run: a finished run.
      target: the other data set.
      prepare: see ``train_run.Prepare``.
      data_dir: folder of the records of the other data set; by default that of the run.
      track: iterates over the folds of the run and shows the progress.

    Returns:
      The content of ``report.json``.

    Raises:
      UserError: if the run is not finished; the data set has clips of fewer than two of
        its classes; its clips have another shape; or the run was trained on one of its
        subjects.
      DataError: if the data set cannot be prepared.
    """
    reader.read_report(run.path)
    verification.warn_of_other_flow(run)
    config = configuration(run, target, data_dir)
    records, clips = train_run.load_clips(
        config,
        prepare,
        functools.partial(
            shared_classes, run.classes, text=target.classes, dataset=config.dataset
        ),
        _class_set(run, target),
    )
    _check_shape(clips, config)
    trained_on = _check_subjects(run, clips)
    predicted = _predict(run, config, clips, track)
    data = writer.describe_clips(clips)
    made = make(run, config, predicted) | {
        "unknown_subjects": subjects.unknown(trained_on),
        "settings": target.given(),
        "records": [str(folder.absolute()) for folder in records],
        "data": data,
        "windows": {
            "training": window_text.describe(run.config, run.data),
            "test": window_text.describe(config, data),
        },
        "start": provenance.start(jax.devices()[:1], config),
    }
    _write(run, config, predicted, made)
    return made


def configuration(run: Run, target: Target, data_dir: str | None) -> TrainConfig:
    """Returns the configuration of a run with another data set.

    Clips are made as those of the run. ``window`` and ``min_frames``, which are numbers
    of frames, are those of the other data set unless the run has set them.

    Raises:
      UserError: if a flag is invalid.
    """
    config = run.config
    changes = dict.fromkeys(_OF_DATASET)
    changes |= {name: recipes.LISTED[name] for name in ("label", "table")}
    changes |= {n: value for n, value in target.given().items() if n != "classes"}
    changes |= {name: _if_set(config, name) for name in recipes.BY_DATASET}
    if config.rate is not None:  # the window is the same time in all data sets
        changes["window"] = config.window
    if target.crop == "default":
        changes |= {"crop": None, "margin": None}
    changes["data_dir"] = data_dir or config.data_dir
    if "devices" in config.flags():
        changes["devices"] = 1
    return config.change(**changes)


def _if_set(config: TrainConfig, name: str) -> object:
    """Returns the value of a flag; None if it is the default of the data set."""
    value = getattr(config, name)
    recipe = recipes.recipe(config.dataset)
    default = (recipes.BY_DATASET | recipe)[name]
    return None if len(config.datasets) == 1 and value == default else value


def _class_set(run: Run, target: Target) -> str:
    """Returns the value of ``--classes`` that determines which clips are tested.

    It is that of the evaluation where it maps emotions. Otherwise the classes of the
    run are those that contain the labels, which are objective classes or emotions.
    """
    if target.classes == "megc3" or _is_file(target.classes):
        return target.classes
    return class_sets.OBJECTIVE if run.config.classes == class_sets.OBJECTIVE else "all"


def _is_file(classes: str | None) -> bool:
    return classes is not None and (classes.endswith(".json") or "/" in classes)


def shared_classes(
    classes: ClassSet, emotions: Collection[str], *, text: str | None, dataset: str
) -> ClassSet:
    """Returns the classes of a run that have clips in another data set.

    Args:
      classes: of the run.
      emotions: all emotions of the other data set.
      text: the value of ``--classes``, see ``Target``.
      dataset: the other data set, for messages.

    Returns:
      At least two classes in the order of the run, with their emotions.

    Raises:
      UserError: if there are fewer, or ``text`` names another class.
    """
    chosen = classes
    listed = ", ".join(f"{name} ({', '.join(es)})" for name, es in classes.items())
    if text == "megc3" or _is_file(text):
        chosen = class_sets.resolve(emotions, text=text, paper=None)
    elif text is not None:
        names = [name.strip() for name in text.split(",") if name.strip()]
        chosen = {name: classes.get(name, ()) for name in names}
    if unknown := [name for name in chosen if name not in classes]:
        raise UserError(
            f"--classes={text}: {unknown[0]} is not a class of the run. Its classes "
            f"are {listed}. Name at least two of them, separated by commas, or give "
            "megc3 or a mapping file (.json) of emotions to these classes."
        )
    if len(chosen) < 2:
        raise UserError(
            f"--classes={text}: name at least two classes of the run, separated by "
            f"commas. They are {listed}."
        )
    shared = {
        name: chosen[name]
        for name in classes
        if not set(chosen.get(name, ())).isdisjoint(emotions)
    }
    if text is not None and (empty := [name for name in chosen if name not in shared]):
        raise UserError(
            f"--classes={text}: {dataset} has no clip of {empty[0]}; its labels are "
            f"{', '.join(sorted(emotions))}."
        )
    if len(shared) < 2:
        found = f"only {', '.join(shared)}" if shared else "none"
        raise UserError(
            f"The run's classes are {listed}; {dataset} has clips of {found} of them: "
            f"its labels are {', '.join(sorted(emotions))}. At least two are needed. A "
            "mapping file, --classes=FILE.json, says which labels belong to which "
            "class."
        )
    return shared


def _check_shape(clips: Clips, config: TrainConfig) -> None:
    expected = (config.frames, config.size, config.size, 3)
    if (found := tuple(clips.clips.shape[1:])) != expected:
        raise UserError(
            f"The clips of {config.dataset} are {found}, those of the run {expected}. "
            "Prepare the records with the run's --frames and --size."
        )


def _check_subjects(run: Run, clips: Clips) -> Subjects:
    """Returns the subjects that the run was trained on.

    Raises:
      UserError: if subjects of the clips can be among them.
    """
    trained_on = subjects.of_run(run, [(seed, number) for seed, number, _ in run.folds])
    both = subjects.shared(subjects.of_clips(clips, range(len(clips))), trained_on)
    if both:
        raise UserError(
            f"{run.path} was trained on subjects of this data set: "
            f"{subjects.describe(both)}. A cross-data-set result needs a data set with "
            "other people. The run's report has its result on the people that it was "
            "not trained on."
        )
    return trained_on


def _predict(
    run: Run, config: TrainConfig, clips: Clips, track: Callable[[Sequence], Iterable]
) -> Predictions:
    """Predicts all clips with the weights of each fold and seed."""
    names = list(run.classes)
    used = [names.index(name) for name in clips.classes]
    # The network has an output for each class of the run.
    of_run = dataclasses.replace(
        clips,
        classes=run.classes,
        labels=np.array(used, np.int32)[clips.labels],
    )
    fitter = fitters.make_fitter(config, of_run, folds=1)
    shapes, indices = fitter.weight_shapes, np.arange(len(clips))
    parts = []
    finished = run.finished()
    for seed, number, name in track(run.folds):
        folder, _ = finished[seed, number]
        weights = checkpoint.read_weights(folder.weights, shapes)
        (probabilities,) = fitter.predict([indices], [weights], classes=used)
        if not (valid := np.isfinite(probabilities).all(-1)).all():
            raise UserError(
                f"The output for {clips.clip_ids[valid.argmin()]} (seed {seed}, fold "
                f"{name}) is not finite, or its probability of each of "
                f"{', '.join(clips.classes)} is 0. Leave that class out with "
                "--classes, or train the run again with a smaller --learning_rate."
            )
        parts.append(
            Predictions(
                classes=tuple(clips.classes),
                clips=np.array(clips.clip_ids),
                datasets=np.array(clips.datasets),
                subjects=np.array(clips.subjects),
                seeds=np.full(len(clips), seed),
                folds=np.full(len(clips), name),
                truth=clips.labels,
                probabilities=probabilities,
            )
        )
    return predictions.concatenate(parts)


def by_model(predicted: Predictions) -> Predictions:
    """Returns predictions with the number of the model, from 0, as their seed.

    Each seed and fold of a run has a model of its own, and each model has predicted all
    clips. The metrics of a model are computed as those of a seed.
    """
    pairs = zip(predicted.seeds.tolist(), predicted.folds.tolist(), strict=True)
    numbers: dict[tuple[int, str], int] = {}
    seeds = [numbers.setdefault(pair, len(numbers)) for pair in pairs]
    return dataclasses.replace(predicted, seeds=np.array(seeds))


def ensemble(predicted: Predictions) -> Predictions:
    """Returns one prediction for each clip: the mean probabilities of all models.

    Args:
      predicted: of several models, each of the same clips in the same order.
    """
    models = by_model(predicted).seeds.max() + 1
    clips = len(predicted) // models
    stacked = predicted.probabilities.reshape(models, clips, -1)  # [M, N, C]
    return dataclasses.replace(
        predicted.select(np.arange(clips)),
        seeds=np.zeros(clips, int),
        folds=np.full(clips, "ensemble"),
        probabilities=stacked.mean(0, dtype=np.float64).astype(np.float32),
    )


def make(run: Run, config: TrainConfig, predicted: Predictions) -> dict:
    """Computes the results of a cross-data-set evaluation from its predictions.

    Args:
      run: the run.
      config: its configuration with the other data set.
      predicted: each clip by each model.

    Returns:
      The part of ``report.json`` that depends on the run and the predictions only.
    """
    found = _summarise(by_model(predicted))
    rows = found.pop("by_seed")
    models = [
        {"seed": seed, "fold": fold} | {k: v for k, v in row.items() if k != "seed"}
        for (seed, _, fold), row in zip(run.folds, rows, strict=True)
    ]
    made = {
        "evaluation": "cross-data-set",
        "model": config.title,
        "trained_on": [
            name
            for name in run.config.datasets
            if name.partition("/")[0] not in run.config.tested_datasets
        ],
        "tested_on": list(config.datasets),
        "protocol": run.config.protocol,
        "selection": config.recogniser.selection(config.settings),
        "seeds": sorted({seed for seed, _, _ in run.folds}),
        "folds": len({name for _, _, name in run.folds}),
        "classes_of_run": list(run.classes),
        "classes_used": list(predicted.classes),
        **found,
        "by_model": models,
        "ensemble": _summarise(ensemble(predicted)) if len(models) > 1 else None,
    }
    if len(config.datasets) > 1:
        made["by_dataset"] = {
            name: _summarise(by_model(predicted.select(predicted.datasets == name)))
            for name in dict.fromkeys(predicted.datasets.tolist())
        }
    return made


def _summarise(predicted: Predictions) -> dict:
    """Computes all metrics, with the lowest and highest value over the models."""
    found = summary.summarise(predicted)
    for metric in found["metrics"].values():
        metric["range"] = [min(metric["values"]), max(metric["values"])]
    return found


def _write(run: Run, config: TrainConfig, predicted: Predictions, report: dict) -> None:
    paths = run.layout.cross(config.dataset)
    paths.path.mkdir(parents=True, exist_ok=True)
    # Written last, and so removed first: it marks the evaluation as finished.
    paths.report.unlink(missing_ok=True)
    with files.atomic_write(paths.predictions) as part:
        predictions.write(predicted, part)
    title = f"{report['clips']} clips of {config.dataset}"
    if (models := len(report["by_model"])) > 1:
        title = f"{len(predicted)} predictions of {title} by {models} models"
    plots = {
        "confusion": figures.confusion_matrix(
            np.array(report["pooled"]["confusion"]), predicted.classes, title
        ),
        "subjects": figures.accuracy_by_subject(by_model(predicted)),
        "reliability": figures.reliability_diagram(report["calibration"]),
    }
    for name in CROSS_FIGURES:
        figures.save(plots[name], paths.figure(name))
    with files.atomic_write(paths.report_text) as part:
        part.write_text(cross_text.to_markdown(run, report))
    files.write_json(paths.report, report)
