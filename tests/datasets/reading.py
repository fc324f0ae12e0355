"""Preparing a generated copy and reading its records back."""

import tensorflow_datasets as tfds

from datasets import prepare


def read_back(name, manual_dir, data_dir, *, workers=None, **options):
    """Prepares a copy and returns its TFDS info and its records by clip id.

    Args:
      name: name of the data set.
      manual_dir: folder of the copy.
      data_dir: folder of the records.
      workers: number of threads.
      **options: fields of ``prepare.Options``.
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
