import pytest

from meranet_jax.runs import plan_text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59, "less than a minute"),
        (70, "about 1 minute on"),
        (4000, "about 67 minutes"),
        (7200, "about 2.0 hours"),
    ],
)
def test_durations(seconds, expected):
    assert expected in plan_text.describe_duration(seconds)
