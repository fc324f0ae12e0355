"""Records, written as they are made.

TFDS puts a data set's records into an order of its own before it writes them. For that
it holds up to a gibibyte of them in memory, and beyond that it needs TensorFlow
(measured at 4.9.10). Here they go to disk in the order in which they come, which the
builders keep the same from run to run, so that memory does not grow with the data set.
"""

import os
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer, splits

# array_record reads any clip at once, whatever the shard; small shards let several
# processes read and copy them side by side.
_SHARD_BYTES = 64 << 20

# Compression takes off a tenth of film, whose last bits are noise, and costs more time
# than to decode a frame and resize it.
_OPTIONS = "group_size:1,uncompressed"


class StreamedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose examples are on disk as soon as they are made."""

    def _generate_splits(self, dl_manager, download_config):
        del download_config  # its settings are for the way that this one replaces
        return [
            self._write(split, examples)
            for split, examples in self._split_generators(dl_manager).items()
        ]

    def _write(self, split: str, examples) -> splits.SplitInfo:
        serializer = example_serializer.ExampleSerializer(
            self.info.features.get_serialized_info()
        )
        # TFDS has set data_dir to a folder beside the final one, which it becomes when
        # all is written.
        template = self._get_filename_template(split_name=split)
        shards = _Shards(Path(self.data_dir))
        try:
            for _, example in examples:
                encoded = self.info.features.encode_example(example)
                shards.write(serializer.serialize_example(encoded))
        finally:
            shards.close()
        if not shards.lengths:
            raise ValueError(f"no example of {self.name} was generated")
        for index, path in enumerate(shards.paths):
            # A shard's name says how many there are.
            os.rename(
                path,
                template.sharded_filepath(
                    shard_index=index, num_shards=len(shards.paths)
                ),
            )
        return splits.SplitInfo(
            name=split,
            shard_lengths=shards.lengths,
            num_bytes=shards.bytes,
            filename_template=template,
        )


class _Shards:
    """Files of records, each begun when the one before is full."""

    def __init__(self, folder: Path):
        self.paths: list[Path] = []
        self.lengths: list[int] = []
        self.bytes = 0
        self._folder = folder
        self._writer = None
        self._room = 0

    def write(self, record: bytes) -> None:
        if self._writer is not None and self._room < len(record):
            self.close()
        if self._writer is None:
            self.paths.append(self._folder / f"shard{len(self.paths)}.tmp")
            self.lengths.append(0)
            self._writer = array_record_module.ArrayRecordWriter(
                str(self.paths[-1]), _OPTIONS
            )
            self._room = _SHARD_BYTES
        self._writer.write(record)
        self._room -= len(record)
        self.lengths[-1] += 1
        self.bytes += len(record)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
