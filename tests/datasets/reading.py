"""Preparing an invented copy and reading back what was written."""

import tensorflow_datasets as tfds

from datasets import prepare


def read_back(name, manual_dir, data_dir, *, workers=None, **options):
    """The records' info, from their folder alone, and the records by clip id.

    Args:
      name: the data set.
      manual_dir: the copy.
      data_dir: where records go.
      workers: as of ``prepare``.
      **options: as of ``prepare.Options``.
    """
    folder = prepare.prepare(
        name,
        manual_dir=manual_dir,
        data_dir=data_dir,
        workers=workers,
        options=prepare.Options(**options),
    )
    info = tfds.builder_from_directory(folder).info
    source = tfds.builder_from_directory(folder).as_data_source(split="train")
    records = {record["clip_id"].decode(): record for record in source}
    assert len(records) == info.splits["train"].num_examples
    return info, records
