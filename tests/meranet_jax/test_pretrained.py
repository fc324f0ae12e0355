"""The weights that ship with the package."""

import dataclasses

import numpy as np
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder
from meranet_jax import weights_file
from meranet_jax.flags import parse
from meranet_jax.inputs import registry
from meranet_jax.runs import origins
from meranet_jax.training import trainers
from tests.meranet_jax.loading import load

EMOTIONS = ("disgust", "happiness", "surprise")


# The flags that choose each of the files, and the input of its network
FILES = {"flow": (), "onset_apex_flow": ("--input=onset_apex_flow",)}


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
    assert metadata.classes == EMOTIONS and metadata.datasets == ("synthetic/varied",)
    assert set(metadata.subjects) < {f"v{number:03d}" for number in range(1, 241)}


def test_no_other_flag_is_needed(name):
    arguments = ["--dataset=synthetic", "--init=pretrained", *FILES[name]]
    config = parse(arguments, find_weights=origins.find)
    assert (config.preset, config.input, config.size) == ("small", name, 56)
    assert config.settings.width == 16


def test_the_preset_for_new_people_chooses_its_weights():
    arguments = ["--preset=new_people", "--init=pretrained"]
    config = parse(arguments, find_weights=origins.find)
    assert (config.preset, config.input) == ("new_people", "onset_apex_flow")
    assert origins.load(config).weights["params"]
    assert parse(["--init=pretrained"], find_weights=origins.find).input == "flow"


def test_a_photographed_face_is_recognised(name, origin, tmp_path):
    """Other clips than those of docs/pretrained.md, of the same face."""
    photo = dataclasses.replace(Builder.builder_configs["photo"], repetitions=2, seed=5)
    photo.name = "photo_of_the_test"
    builder = Builder(config=photo, data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    arguments = ["--init=pretrained", "--devices=1", *FILES[name]]
    config = parse(arguments, find_weights=origins.find)
    clips = load(builder.data_dir, size=config.size, network_input=registry.find(name))
    trainer = trainers.make_trainer(config, clips, folds=1)
    weights, _ = weights_file.load(origin.path)
    (logits,) = trainer.predict([np.arange(len(clips))], [weights])
    assert logits.argmax(-1).tolist() == clips.labels.tolist()
