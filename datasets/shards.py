"""A TFDS builder that writes each record as soon as it is generated.

TFDS itself shuffles a data set's records before it writes them. It keeps up to a
gibibyte of them in memory for that, and requires TensorFlow for more (measured with
4.9.10). Here records are written in the order in which they are generated, which is
deterministic, so that memory does not grow with the data set.
"""

import os
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer, splits

# array_record has random access to the clips of a shard of any size; small shards can
# be read and copied in parallel.
_SHARD_BYTES = 64 << 20

# Compression would save a tenth, since the last bits of video frames are noise, and
# takes longer than decoding and resizing a frame.
_OPTIONS = "group_size:1,uncompressed"


class StreamingBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes each example to disk as soon as it is generated."""

    def _generate_splits(self, dl_manager, download_config):
        del download_config  # its settings concern the TFDS writer, which is not used
        return [
            self._write(split, examples)
            for split, examples in self._split_generators(dl_manager).items()
        ]

    def _write(self, split: str, examples) -> splits.SplitInfo:
        serializer = example_serializer.ExampleSerializer(
            self.info.features.get_serialized_info()
        )
        # TFDS has set data_dir to a temporary folder next to the final one and renames
        # it once everything is written.
        template = self._get_filename_template(split_name=split)
        shards = _ShardWriter(Path(self.data_dir))
        try:
            for _, example in examples:
                encoded = self.info.features.encode_example(example)
                shards.write(serializer.serialize_example(encoded))
        finally:
            shards.close()
        if not shards.lengths:
            raise ValueError(f"no example of {self.name} was generated")
        for index, path in enumerate(shards.paths):
            # A shard's name includes the number of shards.
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


class _ShardWriter:
    """Writes records to numbered files and starts a new one when a file is full."""

    def __init__(self, folder: Path):
        """Prepares to write to a folder; the first file is made with the first record.

        Args:
          folder: existing folder of the files.
        """
        self.paths: list[Path] = []
        self.lengths: list[int] = []
        self.bytes = 0
        self._folder = folder
        self._writer = None
        self._bytes_left = 0

    def write(self, record: bytes) -> None:
        """Appends a serialised record, in a new file if the current one is full."""
        if self._writer is not None and self._bytes_left < len(record):
            self.close()
        if self._writer is None:
            self.paths.append(self._folder / f"shard{len(self.paths)}.tmp")
            self.lengths.append(0)
            self._writer = array_record_module.ArrayRecordWriter(
                str(self.paths[-1]), _OPTIONS
            )
            self._bytes_left = _SHARD_BYTES
        self._writer.write(record)
        self._bytes_left -= len(record)
        self.lengths[-1] += 1
        self.bytes += len(record)

    def close(self) -> None:
        """Finishes the current file, if there is one; ``write`` may follow."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
