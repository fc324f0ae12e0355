"""Spotting on motion that is given as numbers, and on a short video."""

import types

import numpy as np
import pytest

from meranet_jax.video import measurement, spotting
from meranet_jax.video.facial_motion import REGIONS
from meranet_jax.video.measurement import RATE, FaceMotion, Measurement

NAMES = [region.name for region in REGIONS]
PIXEL = 1 / 128


def pulse(times, onset, apex, offset, height):
    rising = np.sin(np.pi / 2 * np.clip((times - onset) / (apex - onset), 0, 1)) ** 2
    falls = np.sin(np.pi / 2 * np.clip((offset - times) / (offset - apex), 0, 1)) ** 2
    return height * np.where(times <= apex, rising, falls)


def spotted(regions, **motion):
    """The candidates in motion that consists of pulses; see ``searched``."""
    return list(searched(regions, **motion).candidates)


def searched(regions, *, seconds=6.0, rate=RATE, noise=0.0, shift=None, eyes=0.0):
    """Searches in motion that consists of pulses.

    Args:
      regions: pulses (onset, apex, offset, height in pixels) by the name of a region.
      seconds: length of the recording.
      rate: of the frames.
      noise: deviation of the noise in pixels.
      shift: of the head in distances between the eyes, [N, 2].
      eyes: motion of the eyes at the first pulse in pixels.
    """
    rng = np.random.default_rng(0)
    times = np.arange(round(seconds * rate)) / rate
    motion = np.abs(rng.normal(0, noise * PIXEL, (len(times), len(REGIONS))))
    for name, pulses in regions.items():
        for onset, apex, offset, height in pulses:
            wave = pulse(times, onset, apex, offset, height * PIXEL)
            motion[:, NAMES.index(name)] += wave
            if eyes:
                motion[:, NAMES.index("eye_left")] += wave * eyes / height
    if shift is None:
        shift = np.zeros((len(times), 2))
    windows = [
        types.SimpleNamespace(
            first=first,
            motion=list(motion[first : first + 200]),
            shift=list(shift[first : first + 200]),
        )
        for first in range(0, max(len(times) - 100, 1), 100)
    ]
    face = FaceMotion(None, windows)
    numbers = np.arange(1, len(times) + 1)
    found = Measurement(numbers, times, numbers, times, [], 1.0, [face])
    return spotting.search(face, found)


def test_onset_apex_and_offset_are_those_of_the_motion():
    (found,) = spotted({"brow_left_inner": [(2.0, 2.15, 2.4, 6)]}, noise=0.05)
    assert found.apex == pytest.approx(2.15, abs=0.05)
    assert found.onset == pytest.approx(2.05, abs=0.06)
    assert found.offset == pytest.approx(2.3, abs=0.08)
    assert found.kind == "micro" and found.regions == ("brow_left_inner",)
    assert found.strength == pytest.approx(6 * PIXEL, rel=0.25)


def test_regions_that_move_together_are_one_candidate():
    pulses = [(2.0, 2.15, 2.4)]
    (found,) = spotted(
        {
            "mouth_corner_left": [(*p, 6) for p in pulses],
            "mouth_corner_right": [(*p, 5) for p in pulses],
            "brow_left_inner": [(2.03, 2.2, 2.4, 4)],
        }
    )
    assert found.regions[0] == "mouth_corner_left" and len(found.regions) == 3
    assert found.flags == ()


def test_two_pulses_are_two_candidates():
    both = spotted({"nostril_left": [(1.0, 1.1, 1.3, 6), (1.5, 1.6, 1.8, 5)]})
    assert [round(found.apex, 1) for found in both] == [1.1, 1.6]


def test_longer_motion_is_no_micro_expression():
    (found,) = spotted({"lip_lower": [(1.0, 1.6, 2.3, 8)]})
    assert found.kind == "macro" and found.offset - found.onset > 0.5


def test_noise_and_a_still_face_give_nothing():
    assert spotted({}) == []
    assert spotted({}, noise=0.5, seconds=60) == []


def test_motion_that_the_face_shows_all_the_time_gives_nothing():
    times = np.arange(0.5, 19, 0.5)
    always = [(t, t + 0.2, t + 0.45, 3) for t in times]
    assert spotted({"lip_lower": always}, seconds=20) == []
    often_and_once = spotted(
        {"lip_lower": always, "brow_left_inner": [(9.0, 9.15, 9.3, 5)]}, seconds=20
    )
    assert [found.regions for found in often_and_once] == [("brow_left_inner",)]


def test_candidates_that_two_windows_share_are_reported_once():
    found = spotted({"brow_left_inner": [(4.0, 4.15, 4.4, 6)]}, seconds=12)
    assert len(found) == 1


def test_a_small_motion_of_one_region_is_no_candidate():
    """Compression and noise move one; an expression moves its neighbour, too."""
    small = (2.0, 2.15, 2.4, 2.8)
    assert spotted({"lip_lower": [small]}) == []
    # The squares of these two share pixels.
    assert spotted({"lip_lower": [small], "lip_centre": [small]}) == []
    corners = {"mouth_corner_left", "mouth_corner_right"}
    (found,) = spotted({name: [small] for name in corners})
    assert set(found.regions) == corners


def test_a_blink_that_moves_the_brows_is_no_candidate():
    at, small = (2.0, 2.15, 2.4, 6), (2.0, 2.15, 2.4, 2.8)
    brows = {"brow_left_outer": [at], "brow_left_middle": [at]}
    found = searched(brows, eyes=20)
    assert found.candidates == ()
    (blink,) = found.blinks
    assert blink.apex == pytest.approx(2.15, abs=0.05)
    assert searched(brows | {"lip_lower": [small]}, eyes=20).candidates == ()
    # A brow that is raised for longer stays, if an eye blinks meanwhile.
    long = (1.0, 1.6, 2.3, 8)
    (found,) = spotted({"brow_left_outer": [long], "brow_right_outer": [long]}, eyes=20)
    assert found.kind == "macro" and found.flags == ("blink",)
    smile = {"mouth_corner_left": [at], "mouth_corner_right": [at]}
    (found,) = spotted(brows | smile, eyes=20)
    assert found.flags == ("blink",) and len(found.regions) == 4


def test_blinks_head_motion_and_speech_are_flagged():
    times = np.arange(180) / RATE
    step = 0.4 / (1 + np.exp(-(times - 2.15) / 0.04))
    shift = np.stack([step, 0 * step], 1)
    at = (2.0, 2.15, 2.4, 6)
    (found,) = spotted({"nostril_left": [at]}, eyes=20)
    assert found.flags == ("blink",)
    # A strong motion of the brow takes the skin above the eye along.
    strong = (*at[:3], 30)
    (found,) = spotted({"brow_left_outer": [strong]}, eyes=20)
    assert found.flags == ()
    (found,) = spotted({"brow_left_outer": [at]}, shift=shift)
    assert found.flags == ("head motion",) and found.head_speed > 1
    (found,) = spotted({"lip_lower": [at]})
    assert found.flags == ("mouth only",)


@pytest.mark.parametrize("rate", [12, 25, 30])
def test_lower_frame_rates(rate):
    (found,) = spotted({"brow_left_inner": [(2.0, 2.2, 2.5, 6)]}, rate=rate)
    assert found.apex == pytest.approx(2.2, abs=1.5 / rate)


def test_nothing_is_measured_in_an_almost_empty_recording():
    assert spotted({}, seconds=0.1) == []
    assert measurement.WINDOW % measurement.STEP == 0
