"""The TFDS builder that those of all licensed data sets are."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from datasets import clip_record, shards
from datasets.source.annotations import where
from datasets.source.examples import examples
from datasets.source.local_copy import Copy, nothing_left, open_copy
from datasets.source.specification import CopyConfig, Facts
from meranet_jax.errors import DataError


class CopyBuilder(shards.StreamedBuilder, skip_registration=True):
    """Records of a licensed copy; a data set's ``Builder`` gives its ``FACTS``."""

    FACTS: Facts
    builder_config: CopyConfig

    # Threads that read clips; None takes one a core. No part of the configuration,
    # since the records do not hang on it.
    workers: int | None = None

    # One that is open already, which spares opening it again.
    copy: Copy | None = None

    def features(self) -> dict:
        """What a record has beside the common features of all licensed data sets."""
        return {}

    def open(self, manual_dir: Path) -> Copy:
        """Opens a copy as this builder would read it."""
        return open_copy(self.FACTS, self.builder_config, manual_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            homepage=self.FACTS.homepage,
            features=clip_record.record_features(
                self.builder_config,
                self.FACTS.emotions,
                offset_estimated=tfds.features.Scalar(np.bool_),
                action_units=tfds.features.Text(),
                # Centre x and y and side in pixels of the frame, and angle in degrees,
                # of the square that was cut out; zeros if none was.
                face=tfds.features.Tensor(shape=(4,), dtype=np.float32),
                **self.features(),
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        copy = self.copy or self.open(Path(dl_manager.manual_dir))
        self.info.metadata.update(
            **copy.describe(),
            fingerprint=copy.fingerprint(),
            notes=list(copy.notes),
        )
        return {"train": self._generate_examples(copy)}

    def _generate_examples(self, copy: Copy) -> Iterator[tuple[str, dict]]:
        left_out, written = list(copy.left_out), 0
        for example in track(
            examples(copy, self.builder_config, self.workers),
            description="Reading clips",
            total=len(copy.rows),
            console=Console(stderr=True),
        ):
            if example.record is None:
                left_out.append(example.left_out())
                continue
            written += 1
            self.info.metadata["notes"] += [
                f"{where(example.row, copy.tables)} ({example.clip_id}): {note.text}"
                for note in example.notes
            ]
            yield example.clip_id, example.record
        # By row; frames without one, already sorted, at the end.
        left_out.sort(key=lambda entry: (entry.row is None, entry.table, entry.row))
        if not written:
            raise DataError(nothing_left(self.FACTS, copy.tables, left_out))
        self.info.metadata["left_out"] = [dataclasses.asdict(e) for e in left_out]
