import dataclasses

import numpy as np
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from tests.meranet_jax.loading import load, smallest
from tests.meranet_jax.running import forget_trainer


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Records of 36 small clips: 4 subjects, 3 emotions, 3 repetitions."""
    config = SyntheticConfig(
        name="tiny", frames=8, window=16, size=32, subjects=4, repetitions=3
    )
    folder = tmp_path_factory.mktemp("records")
    builder = Builder(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return builder.data_dir


@pytest.fixture(scope="module", autouse=True)
def clear_caches():
    """Clears JAX's caches after each module."""
    yield
    forget_trainer()


@pytest.fixture(scope="session")
def clips(records):
    return load(records)


@pytest.fixture(scope="session")
def some(clips):
    """Clips of two subjects with four and two with nine: folds differ in steps."""
    kept = np.delete(np.arange(len(clips)), [0, 1, 2, 3, 4, 9, 10, 11, 12, 13])
    return dataclasses.replace(
        clips,
        clips=clips.clips[kept],
        labels=clips.labels[kept],
        **{
            name: tuple(np.array(getattr(clips, name))[kept].tolist())
            for name in ("clip_ids", "subjects", "datasets", "emotions")
        },
    )


@pytest.fixture
def config(tmp_path):
    return smallest(tmp_path / "runs")
