"""Faces followed through a recording, each with an identity of its own.

Faces are detected in some of the frames. Where a face was not found, it has a gap:
nothing is invented for it.
"""

import dataclasses

from meranet_jax.video.faces import Face, intersection_over_union

# Least overlap of the boxes of one face in two detections that follow one another.
_LEAST_OVERLAP = 0.3

# Seconds after which a face that was lost and appears at the same place is another one.
_LONGEST_ABSENCE = 2.0


@dataclasses.dataclass(frozen=True)
class Detection:
    """A face in one frame in which faces were detected.

    Attributes:
      sample: index of the frame among the frames that are analysed.
      time: of the frame in seconds.
      face: what was detected.
    """

    sample: int
    time: float
    face: Face


@dataclasses.dataclass
class Track:
    """One face through the recording.

    Attributes:
      identity: from 1, in the order of appearance.
      detections: where the face was detected, in ascending order.
    """

    identity: int
    detections: list[Detection]

    @property
    def last(self) -> Detection:
        """The latest detection."""
        return self.detections[-1]


class Tracker:
    """Assigns the faces of frame after frame to tracks.

    Attributes:
      tracks: all faces so far.
    """

    def __init__(self):
        self.tracks: list[Track] = []

    def add(self, sample: int, time: float, faces: list[Face]) -> list[Track]:
        """Assigns the faces of a frame, and returns the tracks that have one in it.

        The pairs of a track and a face whose boxes overlap most are assigned first. A
        face without a track begins another one.

        Args:
          sample: index of the frame; larger than in the call before.
          time: of the frame in seconds.
          faces: that were detected in it.
        """
        open_tracks = [t for t in self.tracks if time - t.last.time <= _LONGEST_ABSENCE]
        pairs = sorted(
            (
                (
                    intersection_over_union(track.last.face.box, face.box),
                    track.identity,
                    place,
                )
                for track in open_tracks
                for place, face in enumerate(faces)
            ),
            key=lambda pair: (-pair[0], *pair[1:]),
        )
        seen: list[Track] = []
        left = dict(enumerate(faces))
        for overlap, identity, place in pairs:
            track = self.tracks[identity - 1]
            if overlap >= _LEAST_OVERLAP and place in left and track not in seen:
                track.detections.append(Detection(sample, time, left.pop(place)))
                seen.append(track)
        for face in left.values():
            track = Track(len(self.tracks) + 1, [Detection(sample, time, face)])
            self.tracks.append(track)
            seen.append(track)
        return seen
