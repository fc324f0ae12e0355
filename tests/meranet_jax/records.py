"""Records with given subjects, emotions and frame numbers, and frames of noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from datasets import clip_record, shards

# Published numbers of expressions of CASME II by emotion.
_CASME2 = {
    **{"others": 99, "disgust": 63, "happiness": 32, "surprise": 28, "repression": 27},
    **{"sadness": 4, "fear": 2},
}


class _Builder(shards.StreamingBuilder, skip_registration=True):
    """Writes given records."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [clip_record.ClipConfig(name="noise", frames=2, size=16)]
    rows: Sequence[Mapping] = ()

    def _info(self) -> tfds.core.DatasetInfo:
        emotions = tuple(sorted({row["emotion"] for row in self.rows}))
        extra = {
            name: tfds.features.Scalar(np.int32)
            for name in ("objective_class", "frame_rate", "key_frames_only")
            if name in self.rows[0]
        }
        return self.dataset_info_from_configs(
            features=clip_record.record_features(
                self.builder_config, emotions, **extra
            ),
            metadata=tfds.core.MetadataDict({}),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        rng = np.random.default_rng(len(self.rows))
        for row in self.rows:
            clip = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
            frames = {"clip": clip, "onset_frame": clip[0], "apex_frame": clip[1]}
            numbers = {"onset": 1, "apex": 5, "offset": 30, "apex_estimated": False}
            yield row["clip_id"], frames | numbers | row


def write_records(folder: Path, rows: Sequence[Mapping]) -> Path:
    """Writes records in a folder.

    Args:
      folder: an empty folder.
      rows: ``clip_id``, ``subject``, ``emotion`` and further features of each record.
        The apex lies after the onset unless ``onset`` or ``apex`` say otherwise.

    Returns:
      The folder of the records.
    """
    given = rows

    class Records(_Builder, skip_registration=True):
        """Its rows determine the features, which the constructor asks for."""

        rows = given

    builder = Records(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_dir)


def rows_of(
    counts: Mapping[str, int], subjects: int, only_others: Sequence[int] = ()
) -> list[dict]:
    """Returns rows with a number of records of each emotion, by turns of the subjects.

    Args:
      counts: number of records by emotion.
      subjects: number of subjects, ``sub01`` and so on.
      only_others: subjects of whom all records are ``others``.
    """
    emotions = [emotion for emotion, number in counts.items() for _ in range(number)]
    everyone = range(1, 1 + subjects)
    rows = []
    for index, emotion in enumerate(emotions):
        group = [n for n in everyone if emotion == "others" or n not in only_others]
        subject = f"sub{group[index % len(group)]:02d}"
        rows.append(
            {
                "clip_id": f"{subject}/{index:03d}",
                "subject": subject,
                "emotion": emotion,
            }
        )
    return rows


def casme2_rows():
    """Returns rows of CASME II's table of 2019 with the facts that the rule needs."""
    rows = rows_of(_CASME2, 26, only_others=(10, 18))
    surprise = [row for row in rows if row["emotion"] == "surprise"]
    for row, clip in zip(surprise, ("EP07_01", "EP07_04f", "EP10_03"), strict=False):
        row |= {"subject": "sub24", "clip_id": f"sub24/{clip}"}
    rows[100] |= {"apex_estimated": True}  # of disgust
    rows[101] |= {"apex": 1}
    return rows
