"""The weights that ship with the package."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder
from meranet_jax import weights_file
from meranet_jax.flags import parse
from meranet_jax.inputs import registry
from meranet_jax.runs import origins
from meranet_jax.training import trainers
from tests.meranet_jax.loading import load


class File(NamedTuple):
    """A file: the flags that choose it, its classes, training data and subjects."""

    flags: tuple[str, ...]
    classes: tuple[str, ...]
    dataset: str
    subjects: set[str]


FILES = {
    "flow": File(
        flags=(),
        classes=("disgust", "happiness", "surprise"),
        dataset="synthetic/varied",
        subjects={f"v{number:03d}" for number in range(1, 241)},
    ),
    "onset_apex_flow": File(
        flags=("--input=onset_apex_flow",),
        classes=("negative", "positive", "surprise"),
        dataset="synthetic/wild_b_training",
        subjects={f"t{number:03d}" for number in range(1, 101)},
    ),
}


@pytest.fixture(params=FILES)
def name(request):
    return request.param


@pytest.fixture
def origin(name):
    return origins.find("pretrained", network_input=name)


def test_file(name, origin):
    assert origin.path.stem == name and origin.path.stat().st_size <= 4e6
    metadata = origin.metadata
    assert (metadata.model, metadata.input) == ("meranet", name)
    expected = FILES[name]
    assert metadata.classes == expected.classes
    assert metadata.datasets == (expected.dataset,)
    assert set(metadata.subjects) < expected.subjects


def test_no_other_flag_is_needed(name):
    arguments = ["--dataset=synthetic", "--init=pretrained", *FILES[name].flags]
    config = parse(arguments, find_weights=origins.find)
    assert (config.preset, config.input, config.size) == ("small", name, 56)
    assert config.settings.width == 16


def test_the_preset_for_new_people_chooses_its_weights():
    arguments = ["--preset=new_people", "--init=pretrained"]
    config = parse(arguments, find_weights=origins.find)
    assert (config.preset, config.input) == ("new_people", "onset_apex_flow")
    # It trains less from weights than from random ones.
    random = parse(arguments[:1], find_weights=origins.find).settings
    assert config.settings.epochs < random.epochs
    assert config.settings.learning_rate < random.learning_rate
    assert origins.load(config).weights["params"]
    assert parse(["--init=pretrained"], find_weights=origins.find).input == "flow"


def test_other_faces_are_recognised(name, origin, tmp_path):
    """Other clips than those of docs/pretrained.md.

    Disgust, the only negative emotion of the clips, has the index of negative.
    """
    faces, subjects, correct = {
        "flow": ("photo", 1, 1.0),
        "onset_apex_flow": ("hard", 3, 0.8),  # other displays than in its training
    }[name]
    known = Builder.builder_configs[faces]
    faces = dataclasses.replace(known, subjects=subjects, repetitions=2, seed=5)
    faces.name = "faces_of_the_test"
    builder = Builder(config=faces, data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    arguments = ["--init=pretrained", "--devices=1", *FILES[name].flags]
    config = parse(arguments, find_weights=origins.find)
    clips = load(builder.data_dir, size=config.size, network_input=registry.find(name))
    trainer = trainers.make_trainer(config, clips, folds=1)
    weights, _ = weights_file.load(origin.path)
    (logits,) = trainer.predict([np.arange(len(clips))], [weights])
    assert np.mean(logits.argmax(-1) == clips.labels) >= correct
