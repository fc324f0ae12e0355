import pytest

from datasets import DataError
from datasets.clip_record import ClipConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sampling": "all"}, "none of apex, uniform, tim"),
        ({"frames": 0}, "--frames=0"),
        ({"size": 8}, "--size=8 must be from 16 to 1024"),
        ({"frames": 20, "window": 19}, "--window=19.*choose one from 20"),
    ],
)
def test_what_no_clip_can_have(values, message):
    with pytest.raises(DataError, match=message):
        ClipConfig(name="x", **values)


def test_names_tell_configurations_apart():
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
