import pytest
import tensorflow_datasets as tfds

from datasets import prepare, shards
from datasets.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from tests.datasets import casme2_tree


def test_full_shards_are_followed_by_new_ones(tmp_path, monkeypatch):
    casme2_tree.write_tree(tmp_path / "copy", rows=casme2_tree.ROWS[:10])
    monkeypatch.setattr(shards, "_SHARD_BYTES", 2_100_000)  # three clips of 0.7 MB
    folder = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    names = sorted(path.name for path in folder.glob("*.array_record-*"))
    assert names == [f"casme2-train.array_record-{n:05d}-of-00004" for n in range(4)]
    assert not list(folder.glob("*.tmp"))
    builder = tfds.builder_from_directory(folder)
    assert builder.info.splits["train"].shard_lengths == [3, 3, 3, 1]
    source = builder.as_data_source(split="train")
    # In the order of the table.
    assert [source[index]["clip_id"].decode() for index in range(10)] == [
        f"sub{row.subject:02d}/{row.clip}" for row in casme2_tree.ROWS[:10]
    ]


def test_data_set_without_examples_raises_and_leaves_nothing(tmp_path):
    config = SyntheticConfig(name="none", subjects=0)
    builder = Builder(config=config, data_dir=tmp_path, file_format="array_record")
    with pytest.raises(ValueError, match="no example of synthetic"):
        builder.download_and_prepare(file_format="array_record")
    assert not list(tmp_path.rglob("*shard*")) + list(tmp_path.glob("*/none/*"))
