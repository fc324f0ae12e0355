"""The time that a window covers is said, and a difference between data sets is."""

import pytest

from meranet_jax.config import TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.runs import window_text

PAPER = {"frame_rates": {"casme": [60.0], "casme2": [200.0], "cas_me_2": [30.0]}}


def test_the_window_of_a_data_set_in_milliseconds():
    config = default_config("casme2", "paper")
    data = {"frame_rates": {"casme2": [200.0]}}
    (line,) = window_text.lines(config, data)
    assert line == "window around the apex: 32 frames at 200 Hz, 160 ms"
    config = default_config("cas_me_2", "paper")
    text = window_text.describe(config, {"frame_rates": {"cas_me_2": [25.0, 30.0]}})
    assert text == "16 frames at 25 to 30 Hz, 533 to 640 ms"


def test_windows_of_a_composite_that_cover_different_times_are_named():
    config = default_config("casme,casme2,cas_me_2", "paper")
    line, note = window_text.lines(config, PAPER)
    assert (
        "casme 32 frames at 60 Hz, 533 ms; casme2 32 frames at 200 Hz, 160 ms" in line
    )
    assert "cas_me_2 16 frames at 30 Hz, 533 ms" in line
    assert "--rate=HZ" in note
    # These two cover the same time.
    config = default_config("casme,cas_me_2", "paper")
    rates = {name: PAPER["frame_rates"][name] for name in ("casme", "cas_me_2")}
    assert len(window_text.lines(config, {"frame_rates": rates})) == 1
    (line, _) = window_text.lines(config, {"frame_rates": rates | {"casme": []}})
    assert "casme 32 frames, frame rate unknown" in line


def test_with_rate_all_windows_cover_the_same_time():
    config = default_config("casme,casme2,cas_me_2", "paper")
    config = config.change(rate=60.0, window=30)
    (line,) = window_text.lines(config, PAPER)
    assert line.count("30 frames at 60 Hz, 500 ms") == 3
    assert "casme2 30 frames at 60 Hz, 500 ms (recorded at 200 Hz)" in line


def test_nothing_is_said_of_records_without_a_frame_rate():
    config = default_config("casme2", "paper")
    assert window_text.lines(config, {}) == []
    assert window_text.lines(config, {"frame_rates": {"casme2": []}}) == []
    config = config.change(sampling="uniform")
    assert window_text.lines(config, {"frame_rates": {"casme2": [200.0]}}) == []


def test_rate_of_a_composite_needs_a_window():
    with pytest.raises(UserError, match="--rate=60: .* set --window.* 30 are half a"):
        TrainConfig(dataset="casme,casme2", rate=60.0)
