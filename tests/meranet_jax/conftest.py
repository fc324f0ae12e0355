import jax
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from tests.meranet_jax.loading import load, smallest


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """36 small clips: 4 subjects, 3 emotions, 3 repetitions."""
    config = SyntheticConfig(
        name="tiny", frames=8, window=16, size=32, subjects=4, repetitions=3
    )
    folder = tmp_path_factory.mktemp("records")
    builder = Builder(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return builder.data_dir


@pytest.fixture(scope="module", autouse=True)
def programs_are_let_go():
    """See ``running.run``."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def clips(records):
    return load(records)


@pytest.fixture
def config(tmp_path):
    return smallest(tmp_path / "runs")
