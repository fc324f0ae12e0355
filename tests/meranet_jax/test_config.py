import dataclasses

import pytest

from meranet_jax.config import TrainConfig, default_config
from meranet_jax.errors import UserError


def test_recipe_of_each_data_set():
    found = {
        name: default_config(name, "paper")
        for name in ("casme", "casme2", "cas_me_2", "synthetic/hard")
    }
    assert {name: c.window for name, c in found.items()} == {
        "casme": 32,
        "casme2": 32,
        "cas_me_2": 16,
        "synthetic/hard": 32,
    }
    assert [c.min_frames for c in found.values()] == [16, 16, 1, 1]
    assert [c.test_fraction for c in found.values()] == [0.25, 0.25, 0.2, 0.25]
    assert all(c.classes == "paper" and c.paper_classes for c in found.values())
    for config in found.values():
        assert config.each_dataset() == [config]


def test_data_sets_of_a_composite_keep_their_recipes():
    config = default_config("casme,cas_me_2,synthetic", "small")
    assert config.classes == "megc3" and config.paper_classes is None
    separate = config.each_dataset()
    assert [one.dataset for one in separate] == ["casme", "cas_me_2", "synthetic"]
    assert [one.window for one in separate] == [32, 16, 32]
    assert [one.min_frames for one in separate] == [16, 1, 1]
    changed = config.change(window=20, min_frames=2)
    assert {(one.window, one.min_frames) for one in changed.each_dataset()} == {(20, 2)}


def test_composites_keep_classes_that_are_equal_in_the_paper():
    config = default_config("synthetic,casme2", "paper")
    assert config.classes == "paper"
    assert config.paper_classes == ("disgust", "happiness", "surprise")


def test_lists_of_values_for_each_data_set():
    config = dataclasses.replace(
        default_config("casme2,cas_me_2", "paper"),
        manual_dir="cas_me_2=/a=b,casme2=/c",
        label="cas_me_2=estimated_emotion",
        expressions="cas_me_2=both",
    )
    casme2, cas_me_2 = config.each_dataset()
    assert (casme2.manual_dir, cas_me_2.manual_dir) == ("/c", "/a=b")
    assert (casme2.label, cas_me_2.label) == ("emotion", "estimated_emotion")
    assert (casme2.expressions, cas_me_2.expressions) == (None, "both")
    assert "expressions" in cas_me_2.record_options()


@pytest.mark.parametrize(
    "changes",
    [{"manual_dir": "/copies"}, {"release": "casme3=RAW"}, {"label": "casme2="}],
)
def test_invalid_lists_of_values_are_refused(changes):
    (field,) = changes
    value = "/copies" if field == "manual_dir" else "..."
    with pytest.raises(UserError) as refused:
        dataclasses.replace(default_config("casme2,cas_me_2", "paper"), **changes)
    message = str(refused.value)
    assert f"--{field}=casme2={value},cas_me_2={value}." in message
    assert ("The same folder may be named for each" in message) == (value == "/copies")


@pytest.mark.parametrize(
    "changes", [{"seeds": "1,1"}, {"seeds": "3,7", "seed": 4}, {"fold_shard": "3/2"}]
)
def test_invalid_seeds_and_shards_are_refused(changes):
    with pytest.raises(UserError, match=f"--{next(iter(changes))}="):
        TrainConfig(**changes)


def test_all_seeds_and_the_shard():
    config = TrainConfig(seeds="3", seed=4, fold_shard="2/8")
    assert (config.all_seeds, config.shard) == ((4, 5, 6), (1, 8))


def test_a_data_set_twice_is_refused():
    """synthetic and synthetic/hard have the same subjects."""
    with pytest.raises(UserError, match="names a data set twice"):
        default_config("synthetic,synthetic/hard", "small")


def test_the_benchmark_has_the_classes_of_megc():
    for name in ("wild", "wild_small", "wild_dev", "wild_b"):
        assert default_config(f"synthetic/{name}", "small").classes == "megc3"
    assert default_config("synthetic/hard", "small").classes == "paper"
    both = default_config("synthetic/wild,casme2", "small")
    assert both.classes == "megc3" and both.paper_classes is None


def test_size_of_records():
    def recorded(**changes):
        return TrainConfig.from_flags(**changes).record_options()["size"]

    assert recorded(size=56) == recorded(size=28) == 112
    assert recorded(size=60) == 60
    assert recorded(size=60, record_size=120) == 120
    with pytest.raises(UserError, match="--record_size=100 is no multiple of --size=6"):
        TrainConfig.from_flags(size=60, record_size=100)


def test_momentum_is_below_one():
    with pytest.raises(UserError, match="--momentum=1 must be from 0 to below 1"):
        TrainConfig.from_flags(momentum=1)
