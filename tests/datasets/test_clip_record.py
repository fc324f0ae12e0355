import pytest

from datasets import DataError
from datasets.clip_record import ClipConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sampling": "all"}, "must be one of apex, uniform, tim"),
        ({"frames": 0}, "--frames=0"),
        ({"size": 8}, "--size=8 must be from 16 to 1024"),
        ({"frames": 20, "window": 19}, "--window=19.*choose --window from 20 to 4096"),
    ],
)
def test_invalid_clip_configurations_raise(values, message):
    with pytest.raises(DataError, match=message):
        ClipConfig(name="x", **values)


def test_names_of_configurations_are_unique():
    def name(**values):
        return ClipConfig(name="x", **values).full_name()

    assert name() == "apex32-16x112"
    assert name(sampling="tim", window=20) == "tim-16x112"
    variants = [
        {},
        {"frames": 8},
        {"window": 16},
        {"size": 64},
        {"sampling": "uniform"},
    ]
    assert len({name(**values) for values in variants}) == len(variants)
