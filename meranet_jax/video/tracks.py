"""Faces followed through a recording, each with an identity of its own.

Faces are detected in some of the frames. Between two of these, boxes and landmarks are
interpolated. Where a face was not found, it has a gap: nothing is invented for it.
"""

import dataclasses

import numpy as np

from meranet_jax.video.faces import Face, intersection_over_union

# Least overlap of the boxes of one face in two detections that follow one another.
_LEAST_OVERLAP = 0.3

# Seconds after which a face that was lost and appears at the same place is another one.
_FORGOTTEN = 2.0

# Of the landmarks' distances, for ``Pose.turn``: the nose lies half way between the
# eyes in a frontal view.
_FRONTAL = 0.5


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A face in one frame in which faces were detected.

    Attributes:
      sample: index of the frame among the frames that are analysed.
      time: of the frame in seconds.
      face: what was detected.
    """

    sample: int
    time: float
    face: Face

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels."""
        one, other = self.face.eyes
        return float(np.linalg.norm(other - one))

    @property
    def turn(self) -> float:
        """How far the face is turned aside: 0 in a frontal view, about 1 in profile.

        It is the horizontal distance of the nose from the middle between the eyes, in
        half distances between the eyes.
        """
        one, other = self.face.eyes
        along = (other - one) / max(float(np.linalg.norm(other - one)), 1e-6)
        nose = self.face.landmarks[2]
        share = float((nose - one) @ along) / max(self.eye_distance, 1e-6)
        return abs(share - _FRONTAL) / _FRONTAL


@dataclasses.dataclass
class Track:
    """One face through the recording.

    Attributes:
      identity: from 1, in the order of appearance.
      sightings: where the face was detected, in ascending order.
    """

    identity: int
    sightings: list[Sighting]

    @property
    def last(self) -> Sighting:
        """The latest sighting."""
        return self.sightings[-1]


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
        open_tracks = [t for t in self.tracks if time - t.last.time <= _FORGOTTEN]
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
                track.sightings.append(Sighting(sample, time, left.pop(place)))
                seen.append(track)
        for face in left.values():
            track = Track(len(self.tracks) + 1, [Sighting(sample, time, face)])
            self.tracks.append(track)
            seen.append(track)
        return seen
