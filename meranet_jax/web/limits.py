"""Limits of what one recording may cost the machine."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of uploads, and of the process that analyses a recording.

    Attributes:
      upload: size of a recording in bytes.
      recordings: number of recordings that are kept at a time.
      seconds: of the analysis of one recording, as a clock shows them.
      memory: of that process in bytes, where the system supports such a limit.
      export: seconds in which the files of a recording must be written.
    """

    upload: int = 4_000_000_000
    recordings: int = 200
    seconds: float = 4 * 3600.0
    memory: int = 12 << 30
    export: float = 300.0
