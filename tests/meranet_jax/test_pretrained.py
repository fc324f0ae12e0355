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


@pytest.fixture(scope="module")
def origin():
    return origins.find("pretrained")


def test_file(origin):
    assert origin.path.stat().st_size <= 4e6
    metadata = origin.metadata
    assert (metadata.model, metadata.input) == ("meranet", "flow")
    assert metadata.classes == EMOTIONS and metadata.datasets == ("synthetic/varied",)
    assert set(metadata.subjects) < {f"v{number:03d}" for number in range(1, 241)}


def test_no_other_flag_is_needed():
    config = parse(
        ["--dataset=synthetic", "--init=pretrained"], find_weights=origins.find
    )
    assert (config.preset, config.input, config.size) == ("small", "flow", 56)
    assert config.settings.width == 16


def test_a_photographed_face_is_recognised(origin, tmp_path):
    """Other clips than those of docs/pretrained.md, of the same face."""
    photo = dataclasses.replace(Builder.builder_configs["photo"], repetitions=2, seed=5)
    photo.name = "photo_of_the_test"
    builder = Builder(config=photo, data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    config = parse(["--init=pretrained", "--devices=1"], find_weights=origins.find)
    clips = load(
        builder.data_dir, size=config.size, network_input=registry.find("flow")
    )
    trainer = trainers.make_trainer(config, clips, folds=1)
    weights, _ = weights_file.load(origin.path)
    (logits,) = trainer.predict([np.arange(len(clips))], [weights])
    assert logits.argmax(-1).tolist() == clips.labels.tolist()
