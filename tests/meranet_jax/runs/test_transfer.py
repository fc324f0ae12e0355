"""Runs that start from weights: --init and --freeze."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import optax
import pytest

from meranet_jax import flags, weights_file
from meranet_jax.analysis import reproduction
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.data import splits
from meranet_jax.errors import UserError
from meranet_jax.models import layers
from meranet_jax.runs import merge, origins, reader, subjects, verification, writer
from meranet_jax.training import fitters, trainers
from meranet_jax.weights_file import Metadata
from tests.meranet_jax import loading
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import run
from tests.meranet_jax.runs.test_descriptor_runs import lbp_top

pytestmark = pytest.mark.e2e

ARCHITECTURE = {"width": 4, "stage_sizes": (1, 1), "shortcut": "projection"}
ARCHITECTURE |= {"attentions": ("channel", "spatio_temporal"), "reduction": 16}
ARCHITECTURE |= {"kernel_size": 5, "shared": "cnn"}
METADATA = Metadata(
    model="meranet",
    settings=ARCHITECTURE,
    input="rgb",
    frames=8,
    size=16,
    classes=loading.CLASSES,
    origin="Made by a test.",
)


def tiny(runs_dir, **changes):
    return smallest(
        runs_dir, **({"frames": 8, "epochs": 1, "stage_sizes": (1, 1)} | changes)
    )


@pytest.fixture(scope="module")
def others(clips):
    """The same clips as of other people, with two of the three classes."""
    kept = np.flatnonzero(clips.labels < 2)
    names = tuple(clips.classes)[:2]
    return dataclasses.replace(
        clips,
        clips=clips.clips[kept],
        labels=clips.labels[kept],
        subjects=tuple(f"v{clips.subjects[i]}" for i in kept),
        clip_ids=tuple(f"v{clips.clip_ids[i]}" for i in kept),
        datasets=("synthetic/varied",) * len(kept),
        emotions=tuple(clips.emotions[i] for i in kept),
        classes={name: (name,) for name in names},
    )


@pytest.fixture(scope="module")
def origin(others, tmp_path_factory):
    """A run of one fold on other people."""
    config = tiny(tmp_path_factory.mktemp("origin"), preset="small", name="first")
    return run(config.change(dataset="synthetic/varied"), others)


@pytest.fixture(scope="module")
def tuned(origin, clips, tmp_path_factory):
    """A run of two folds that starts from ``origin`` with frozen layers."""
    changes = {"init": str(origin), "freeze": "stem, block1", "remat": True}
    changes |= {"protocol": "kfold", "folds": 2, "accumulate": 2, "name": "tuned"}
    return run(tiny(tmp_path_factory.mktemp("tuned"), **changes), clips)


def weights_of(path, number=0, classes=2):
    saved = reader.read(path)
    shapes = origins.initial_weights.shapes(saved.config, classes)
    (fold,) = saved.layout.find_folds(0, number)
    return origins.checkpoint.read_weights(fold.weights, shapes)


def save(path, weights, **changes):
    weights_file.save(path, weights, dataclasses.replace(METADATA, **changes))
    return path


def initial(config, classes=loading.CLASSES):
    classes = {name: (name,) for name in classes}
    return origins.load(config).for_classes(config, classes)


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_training_starts_from_the_weights_of_a_run(origin, clips, config):
    config = config.change(init=str(origin), frames=8, stage_sizes=(1, 1))
    found = initial(config)
    assert found.description["drawn"] == ["head"]
    options = {"folds": 1, "initial": found.weights}
    trainer = fitters.NetworkFitter(config, clips, **options).trainer
    state, expected = trainer.initial_state(0, 5), weights_of(origin)
    head = state.params.pop("head")
    assert head["kernel"].shape[-1] == 3 and head["kernel"].std() > 0
    del expected["params"]["head"]
    assert_equal(trainers.weights_of(state), expected)
    assert not any(np.any(moment) for moment in jax.tree.leaves(state.opt_state))
    # The head is drawn from the seed, as without initial weights.
    scratch = fitters.NetworkFitter(config.change(init=None), clips, folds=1).trainer
    assert_equal(scratch.initial_state(0, 5).params["head"], head)


def test_the_head_is_kept_where_the_classes_are_the_same(origin, config):
    config = config.change(init=str(origin), frames=8, stage_sizes=(1, 1))
    found = initial(config, loading.CLASSES[:2])
    assert found.description["drawn"] == []
    assert_equal(found.weights, weights_of(origin))
    # Another order or other names are other classes.
    swapped = initial(config, loading.CLASSES[1::-1])
    assert swapped.description["drawn"] == ["head"]


def test_frozen_layers_keep_weights_and_statistics(origin, tuned):
    before = weights_of(origin)
    frozen = {"stem", "stem_norm", "block1_1"}
    for number in (0, 1):
        after = weights_of(tuned, number, classes=3)
        for collection in ("params", "batch_stats"):
            kept = {n: t for n, t in after[collection].items() if n in frozen}
            expected = {n: t for n, t in before[collection].items() if n in frozen}
            assert_equal(kept, expected)
        trained = after["params"]["block2_1"]["conv1"]["kernel"]
        assert (trained != before["params"]["block2_1"]["conv1"]["kernel"]).all()
        statistics = after["batch_stats"]["block2_1"]["norm1"]["mean"]
        assert (statistics != before["batch_stats"]["block2_1"]["norm1"]["mean"]).any()


@pytest.mark.parametrize("remat", [False, True])
def test_frozen_normalisation_computes_as_in_the_evaluation(
    origin, clips, config, remat
):
    config = config.change(
        init=str(origin), frames=8, stage_sizes=(1, 1), flip=False, remat=remat
    )
    config = config.change(freeze="stem,block1,block2")
    found = initial(config)
    options = {"folds": 1, "initial": found.weights}
    trainer = fitters.NetworkFitter(config, clips, **options).trainer
    trainer.set_states([trainer.initial_state(0, 5)])
    batch = np.arange(0, 32, 4)
    (logits,) = trainer.predict([batch])
    (sums,) = trainer.train([batch[None]])
    labels = clips.labels[batch]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    assert sums["loss"].item() == pytest.approx(float(losses.sum()), rel=1e-5)
    after = trainer.weights()
    assert_equal(after["batch_stats"], found.weights["batch_stats"])
    head = trainer.initial_state(0, 5).params["head"]["kernel"]
    assert (after["params"]["head"]["kernel"] != head).any()


def test_the_report_names_the_origin(origin, tuned, clips):
    saved = reader.read(tuned)
    report = verification.check_report(saved)
    found = report["origin"]
    assert found["trained_on"] == {"synthetic": ["vs01", "vs02", "vs03", "vs04"]}
    assert found["drawn"] == ["head"]
    assert found["frozen"] == ["block1_1", "stem", "stem_norm"]
    text = (tuned / "report.md").read_text()
    assert (
        f"Every fold started from the weights of --init={origin}. Their origin: "
        "Trained on synthetic/varied by the run first, seed 0, fold holdout of "
        "--protocol=holdout. They were trained on 4 subjects of synthetic, none of "
        "whom is tested. The weights are for the "
        "classes disgust, happiness, so head was initialised from the seed. Not "
        "trained (--freeze): block1_1, stem, stem_norm."
    ) in text
    assert "origin" not in reader.read_report(origin)
    # The subjects of the origin are among those that the run was trained on.
    both = subjects.of_run(saved, [(0, 0)])["synthetic"]
    assert set(both) > {"vs01", "vs04"} and len(both) == 4 + 2


def test_a_run_is_resumed_with_the_same_weights_only(tuned, origin, clips, tmp_path):
    shutil.copytree(tuned, tmp_path / "tuned")
    shutil.copytree(origin, tmp_path / "moved")
    config = reader.read(tuned).config.change(runs_dir=str(tmp_path))
    before = (tuned / "predictions.csv").read_bytes()
    # The same weights in another place, and a fold that has to be trained again
    (fold, _) = sorted((tmp_path / "tuned" / "folds").iterdir())
    shutil.rmtree(fold)
    moved = config.change(init=str(tmp_path / "moved"))
    run(moved, clips)
    assert (tmp_path / "tuned" / "predictions.csv").read_bytes() == before
    other = jax.tree.map(lambda w: w + 1, weights_of(origin))
    file = save(tmp_path / "x.npz", other, classes=loading.CLASSES[:2])
    changed = config.change(init=str(file))
    with pytest.raises(UserError, match=f"init {tmp_path / 'moved'}, not .*x.npz"):
        writer.check_free(changed, tmp_path / "tuned", origins.load(changed))
    save(file, weights_of(origin), classes=loading.CLASSES[:2])
    writer.check_free(changed, tmp_path / "tuned", origins.load(changed))
    with pytest.raises(UserError, match="init .*, not None"):
        writer.check_free(
            config.change(init=None, freeze=None), tmp_path / "tuned", None
        )


def test_experiments_use_finished_runs_that_start_from_weights(tuned, tmp_path):
    path = shutil.copytree(tuned, tmp_path / "tuned")
    saved = json.loads((path / "config.json").read_text())
    saved["config"] |= {"runs_dir": str(tmp_path), "precision": "fp32"}
    (path / "config.json").write_text(json.dumps(saved))
    assert reproduction.is_finished(reader.read(path).config)


def test_merged_shards_name_the_origin(tuned, tmp_path):
    parts = [reader.read(tuned)]
    changed = dataclasses.replace(parts[0], origin=parts[0].origin | {"digest": "x"})
    with pytest.raises(UserError, match="the weights that they started from"):
        merge.merge([parts[0], changed], tmp_path / "merged")
    report = merge.merge(parts, tmp_path / "merged")
    assert report["origin"] == parts[0].origin


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic/hard"])
def test_test_subjects_of_the_origin_are_refused(origin, clips, config, dataset):
    changes = {"protocol": "kfold", "folds": 2, "init": str(origin), "frames": 8}
    changes |= {"stage_sizes": (1, 1)}
    config = config.change(dataset=dataset, **changes)
    found = origins.load(config)
    jobs = splits.jobs(splits.make(config, clips))
    found.check_subjects(clips, jobs)
    mixed = ("vs01",) * 9 + clips.subjects[9:]
    with pytest.raises(UserError, match="test subjects.*: vs01 of synthetic. A result"):
        found.check_subjects(dataclasses.replace(clips, subjects=mixed), jobs)
    # vs01 is tested in one fold only, and is no problem where it is not tested.
    (tests,) = [[j] for j in jobs if 0 not in j.fold.test.tolist()]
    found.check_subjects(dataclasses.replace(clips, subjects=mixed), tests)


def test_subjects_that_can_have_been_trained_on_are_refused(clips):
    tested = subjects.of_clips(clips, [0])
    for datasets, trained, refused in (
        (None, None, True),
        ((), (), False),
        (("kinetics400",), None, False),
        (("synthetic/hard",), None, True),
        (("synthetic",), ("s02",), False),
        (("synthetic",), ("s01",), True),
        (("casme2", "synthetic/easy"), ("casme2/s01", "synthetic/s02"), False),
        (("casme2", "synthetic/easy"), ("casme2/s02", "synthetic/s01"), True),
    ):
        metadata = dataclasses.replace(METADATA, datasets=datasets, subjects=trained)
        found = subjects.of_metadata(metadata)
        assert bool(subjects.shared(tested, found)) == refused
        assert bool(subjects.unknown(found)) == (trained is None)
        back = subjects.to_metadata(found, datasets or ())
        assert datasets is None or set(back[0]) == set(datasets)
        assert (
            subjects.of_metadata(
                dataclasses.replace(
                    METADATA, **dict(zip(("datasets", "subjects"), back, strict=True))
                )
            )
            == found
        )
    merged = subjects.merge([{"a": ["2"], "b": ["1"]}, {"a": ["1"], "b": None}])
    assert merged == {"a": ["1", "2"], "b": None}


def test_a_weights_file_gives_the_same_weights(origin, clips, tmp_path):
    classes = loading.CLASSES[:2]
    file = save(tmp_path / "w.npz", weights_of(origin), classes=classes)
    config = tiny(tmp_path, init=str(file), name="of_file")
    of_file, of_run = initial(config), initial(config.change(init=str(origin)))
    assert_equal(of_file.weights, of_run.weights)
    assert of_file.digest == of_run.digest
    with pytest.raises(UserError, match="unknown on which data sets.*convert FILE NEW"):
        run(config, clips)
    # The subjects are unknown, but they are not those of the tests.
    save(file, weights_of(origin), classes=classes, datasets=("kinetics400",))
    path = run(config, clips)
    text = (path / "report.md").read_text()
    sentence = "Made by a test. They were trained on unknown subjects of kinetics400."
    assert sentence in text
    # What is unknown stays unknown in runs that start from this run.
    again = origins.find(str(path))
    assert again.trained_on()["kinetics400"] is None
    assert again.trained_on()["synthetic"] == ["s01", "s02", "s03", "s04"]


def test_weights_of_another_network_are_refused(origin, config, tmp_path):
    classes = loading.CLASSES[:2]
    weights = weights_of(origin)
    weights["params"]["stem"]["kernel"] = np.zeros((3, 7, 7, 2, 4), np.float32)
    file = save(tmp_path / "w.npz", weights, classes=classes, origin="x")
    config = config.change(init=str(file), frames=8, stage_sizes=(1, 1))
    with pytest.raises(UserError, match=r"stem/kernel is \(3, 7, 7, 2, 4\), not"):
        origins.load(config)
    with pytest.raises(UserError, match="--width=8: the weights of .* --width=4"):
        origins.load(config.change(width=8))


def parse(*arguments):
    return flags.parse(list(arguments), find_weights=origins.find)


def test_weights_determine_the_defaults(origin, tmp_path):
    config = parse("--dataset=synthetic", f"--init={origin}", "--protocol=loso")
    settings = config.settings
    assert (settings.width, settings.stage_sizes) == (4, (1, 1))
    assert (config.preset, config.size, config.frames) == ("small", 16, 8)
    assert settings.epochs == default_config("synthetic", "small").settings.epochs
    assert config.run_name == "synthetic-meranet-small-init-first-loso-seed0"
    assert flags.parse(flags.to_arguments(config), find_weights=origins.find) == config
    own = vars(default_config("synthetic", "paper", "resnet3d").settings)
    names = ("width", "stage_sizes", "shortcut")
    file = save(
        tmp_path / "r.npz",
        {"params": {"a": np.zeros(1)}},
        model="resnet3d",
        settings={name: own[name] for name in names},
        size=112,
        frames=16,
    )
    config = parse(f"--init={file}", "--epochs=2", "--size=112")
    assert (config.model, config.preset) == ("resnet3d", "paper")
    assert config.settings.epochs == 2
    settings = {name: own[name] for name in names} | {"width": 8}
    save(file, {"params": {"a": np.zeros(1)}}, model="resnet3d", settings=settings)
    config = parse(f"--init={file}")
    assert (config.preset, config.settings.width, config.size) == ("small", 8, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"overwrite": True},
            "overwrite=True is no setting of the architecture of",
        ),
        ({"name": "victim"}, "name='victim' is no setting"),
        ({"learning_rate": 0.5}, "learning_rate=0.5 is no setting"),
        ({"width": "abc"}, "width='abc' is no setting"),
        ({"width": 0}, "file.npz: --width=0 must be at least 1"),
        ({"attentions": ("planted:A",)}, "needs the Python module of planted:A"),
    ],
)
def test_weights_files_set_their_architecture_only(settings, message, tmp_path):
    file = save(
        tmp_path / "file.npz", {"params": {"a": np.zeros(1)}}, settings=settings
    )
    with pytest.raises(UserError, match=message):
        parse(f"--init={file}")


def test_modules_that_a_weights_file_names_are_imported_if_a_flag_names_them(
    tmp_path, monkeypatch
):
    (tmp_path / "planted_network.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "planted_network:NETWORK"
    file = save(
        tmp_path / "file.npz", {"params": {"a": np.zeros(1)}}, model=name, settings={}
    )
    with pytest.raises(UserError, match="importing it runs its code. If you trust it"):
        parse(f"--init={file}")
    for flag in ([f"--model={name}"], ["--model", name]):
        with pytest.raises(RuntimeError, match="imported"):
            parse(f"--init={file}", *flag)


def test_a_file_of_another_format_is_refused_with_advice(tmp_path):
    (tmp_path / "r3d_18.pth").write_bytes(b"x")
    with pytest.raises(UserError, match=r"Convert .*meranet_jax.convert .*r3d_18.pth"):
        parse(f"--init={tmp_path / 'r3d_18.pth'}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width=8"], "--width=8: the weights of --init=.*first are of a network "),
        (["--stage_sizes", "2", "2"], "--stage_sizes=2 2: .* --stage_sizes=1 1"),
        (["--model=resnet3d"], "--model=resnet3d: .* with --model=meranet"),
        (["--model=lbp_top"], "--model=lbp_top is a descriptor"),
    ],
)
def test_flags_that_contradict_the_weights_are_refused(origin, arguments, message):
    with pytest.raises(UserError, match=message):
        parse(f"--init={origin}", *arguments)


def test_another_size_is_accepted(origin):
    config = parse(f"--init={origin}", "--size=56", "--frames=16")
    assert (config.size, config.frames, config.settings.width) == (56, 16, 4)


def test_layers_to_freeze_are_checked_before_anything_is_prepared(origin, clips):
    init = f"--init={origin}"
    with pytest.raises(UserError, match="no layer block3. Its layers are block1_1, bl"):
        fitters.check(parse(init, "--freeze=stem,block3"))
    with pytest.raises(UserError, match="freezes all layers"):
        fitters.check(parse(init, "--freeze=stem,block1,block2,head"))
    fitters.check(parse(init, "--freeze=stem,block1,block2"))
    with pytest.raises(UserError, match="--freeze=head: head is initialised from the"):
        initial(parse(init, "--freeze=head"))
    with pytest.raises(UserError, match="--freeze=stem keeps the weights of --init"):
        parse("--freeze=stem")
    assert layers.find_groups(None, ["a"]) == frozenset()
    assert layers.find_groups("b1", ["b1", "b1_1", "b11", "c"]) == {"b1", "b1_1"}


def test_origins_that_cannot_be_used_are_refused(
    origin, tuned, clips, tmp_path, monkeypatch
):
    with pytest.raises(UserError, match="x does not exist. Give a run folder, a wei"):
        origins.find("x")
    with pytest.raises(UserError, match="--init=.* is not a run folder. Expected"):
        origins.find(str(tmp_path))
    with pytest.raises(UserError, match="There is no file"):
        origins.find(str(tmp_path / "w.npz"))
    with pytest.raises(UserError, match="these runs do not start from weights"):
        flags.parse(["--init=x"])
    # A run with several folds
    folds = sorted((tuned / "folds").iterdir())
    with pytest.raises(UserError, match=f"2 folds.*--init={folds[0]}, "):
        origins.find(str(tuned))
    assert origins.find(str(folds[1])).fold == (0, 1)
    config = TrainConfig(init=str(folds[1]))
    assert "-init-tuned-seed0-001-2-" in config.run_name
    shutil.copytree(tuned, tmp_path / "tuned")
    unfinished = tmp_path / "tuned" / "folds" / folds[1].name
    (unfinished / "predictions.csv").unlink()
    with pytest.raises(UserError, match="this fold of .* is not finished"):
        origins.find(str(unfinished))
    shutil.copytree(origin, tmp_path / "one")
    (predicted,) = (tmp_path / "one").glob("folds/*/predictions.csv")
    predicted.unlink()
    with pytest.raises(UserError, match="this run is not finished"):
        origins.find(str(tmp_path / "one"))
    # A descriptor
    path = run(lbp_top(tmp_path, protocol="holdout", seeds=None), clips)
    with pytest.raises(UserError, match="its recogniser is lbp_top, a descriptor"):
        origins.find(str(path))
    # The weights of the package
    monkeypatch.setattr(origins, "_PRETRAINED_FOLDER", tmp_path)
    with pytest.raises(UserError, match="has no pretrained weights"):
        origins.find("pretrained")
    flow = save(tmp_path / "flow.npz", {"params": {"a": np.zeros(1)}})
    other = save(tmp_path / "difference.npz", {"params": {"a": np.zeros(1)}})
    assert origins.find("pretrained").path == flow
    assert origins.find("pretrained", network_input="difference").path == other
    assert origins.find("pretrained", network_input="rgb").path == flow


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"digest": 3},
        {"drawn": "head"},
        {"trained_on": {"synthetic": "s01"}},
        {"trained_on": []},
    ],
)
def test_a_damaged_description_of_the_origin_is_refused(tuned, tmp_path, changes):
    shutil.copytree(tuned, tmp_path / "run", ignore=shutil.ignore_patterns("folds"))
    file = tmp_path / "run" / "config.json"
    saved = json.loads(file.read_text())
    saved["origin"] = None if changes is None else saved["origin"] | changes
    file.write_text(json.dumps(saved))
    with pytest.raises(UserError, match="does not have the content"):
        reader.read(tmp_path / "run")
