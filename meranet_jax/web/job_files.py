"""Files in the folder of a recording, which server and worker share."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class JobFiles:
    """Where the files of a recording are.

    Attributes:
      folder: of the recording; its name is generated.
    """

    folder: Path

    @property
    def job(self) -> Path:
        """What is asked for, and how far it is."""
        return self.folder / "job.json"

    @property
    def log(self) -> Path:
        """What the worker prints for developers."""
        return self.folder / "worker.log"

    @property
    def page(self) -> Path:
        """What the page shows of the prediction; see ``page_data``."""
        return self.folder / "page.json"

    @property
    def prediction(self) -> Path:
        """The prediction, which only a worker reads."""
        return self.folder / "prediction.npz"

    @property
    def times(self) -> Path:
        """When each frame is shown in seconds, as little-endian float64 [frames]."""
        return self.folder / "times.f64"

    def motion(self, face: int) -> Path:
        """Motion of the regions of a face, as little-endian float32 [N, R].

        Args:
          face: its identity.
        """
        return self.folder / f"motion-{face}.f32"

    @property
    def results(self) -> Path:
        """Folder of the files that predict.py writes."""
        return self.folder / "results"

    @property
    def corrections(self) -> Path:
        """What the user has corrected; see ``corrections``."""
        return self.folder / "corrections.json"

    @property
    def exported(self) -> Path:
        """The corrections that are exported, which do not change meanwhile."""
        return self.folder / "exported.json"

    @property
    def export(self) -> Path:
        """All results and corrections in one file."""
        return self.folder / "export.zip"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures of candidates."""
        return self.results / "candidates"
