"""Base class of the TFDS builders of all licensed data sets."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from datasets import clip_record, shards
from datasets.source.annotations import of_folders, row_label
from datasets.source.examples import CHANGE_NOTES, examples
from datasets.source.expressions import Note
from datasets.source.local_copy import LocalCopy, no_records_message, open_local_copy
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError


class LocalCopyBuilder(shards.StreamingBuilder, skip_registration=True):
    """Writes the records of a licensed data set from the user's local copy.

    A data set's ``Builder`` derives from this class and defines ``SPECIFICATION``.
    """

    SPECIFICATION: Specification
    builder_config: LocalCopyConfig

    # Number of threads that read clips; None uses one per core. It is not part of the
    # configuration, since it does not affect the records.
    workers: int | None = None

    # A copy that is already open, so that it need not be opened again.
    local_copy: LocalCopy | None = None

    def extra_features(self) -> dict:
        """Returns the TFDS features of a record in addition to the common ones."""
        return {}

    def open_local_copy(
        self, manual_dir: Path, others: Sequence[Specification] = ()
    ) -> LocalCopy:
        """Opens a copy with this builder's specification and configuration.

        Args:
          manual_dir: the user's folder.
          others: specifications of other data sets, whose tables are not read.

        Raises:
          DataError: if the copy cannot be read.
        """
        return open_local_copy(
            self.SPECIFICATION, self.builder_config, manual_dir, others
        )

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            homepage=self.SPECIFICATION.homepage,
            features=clip_record.record_features(
                self.builder_config,
                self.SPECIFICATION.emotions,
                offset_estimated=tfds.features.Scalar(np.bool_),
                action_units=tfds.features.Text(),
                # Whether there are no images but those of onset, apex and offset, so
                # that the clip consists of repetitions of these
                key_frames_only=tfds.features.Scalar(np.bool_),
                # Hz; 0 if it is unknown
                frame_rate=tfds.features.Scalar(np.float32),
                # The face crop: x and y of its centre and its side in pixels of the
                # frame, and its angle in degrees; zeros if frames were not cropped.
                face=tfds.features.Tensor(shape=(4,), dtype=np.float32),
                **self.extra_features(),
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        copy = self.local_copy or self.open_local_copy(Path(dl_manager.manual_dir))
        self.info.metadata.update(
            **copy.describe(),
            fingerprint=copy.fingerprint(),
            of_folders=of_folders(copy.tables),
            missing_tables=list(copy.missing_tables),
            notes=list(copy.notes),
        )
        return {"train": self._generate_examples(copy)}

    def _generate_examples(self, copy: LocalCopy) -> Iterator[tuple[str, dict]]:
        left_out, written, frame_rates = list(copy.left_out), 0, set()
        notes: list[tuple[int, str]] = []
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
            frame_rates.add(example.record["frame_rate"])
            label = f"{row_label(example.row, copy.tables)} ({example.clip_id})"
            notes += [
                (_place_of(note), f"{label}: {note.text}") for note in example.notes
            ]
            yield example.clip_id, example.record
        notes.sort(key=lambda note: note[0])  # otherwise in the order of the table
        self.info.metadata["notes"] += [text for _, text in notes]
        # By row number; frames without a row, which are already sorted, come last.
        left_out.sort(key=lambda entry: (entry.row is None, entry.table, entry.row))
        if not written:
            raise DataError(
                no_records_message(self.SPECIFICATION, copy.tables, left_out)
            )
        # Empty if one is unknown
        known = [] if 0.0 in frame_rates else sorted(frame_rates)
        self.info.metadata["frame_rates"] = known
        self.info.metadata["left_out"] = [dataclasses.asdict(e) for e in left_out]


def _place_of(note: Note) -> int:
    """Returns the place of a note, since the summary shows the first ones only.

    Values that were corrected come first, and changes of the picture, which may be
    those of a face, last.
    """
    return 0 if note.kind == "corrected" else 1 + (note.kind in CHANGE_NOTES)
