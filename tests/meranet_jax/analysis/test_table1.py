"""Table 1: the settings of the systems, and the numbers that are quoted."""

import re

import pytest

from meranet_jax.analysis import reproduction, table1
from meranet_jax.config import default_config
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry
from tests.programs import ROOT

ALL = tuple(table1.SYSTEMS)


def planned(*arguments):
    _, _, needed, _ = reproduction.parse(["table1", *arguments])
    return {config.model: config for config in needed.values()}


def test_each_system_has_its_own_input_and_training():
    configs = planned("--dataset=casme2", "--protocols", "loso")
    assert tuple(configs) == ALL
    for name, config in configs.items():
        own = default_config("casme2", "paper", name)
        assert config.settings == own.settings
        assert (config.input, config.size) == (own.input, own.size)
        assert (config.protocol, config.all_seeds) == ("loso", (0,))


def test_flags_are_for_the_systems_that_have_them():
    flags = ["--epochs=3", "--input=flow", "--size=56", "--no-flip", "--data_dir=d"]
    configs = planned("--preset=small", "--protocols", "holdout", *flags)
    for name, config in configs.items():
        own = default_config("synthetic", "small", name)
        of_paper = name in ("meranet", "resnet3d")
        assert config.data_dir == "d" and len(config.all_seeds) == 5
        assert config.input == ("flow" if of_paper else own.input)
        assert config.size == (56 if of_paper else own.size)
        assert getattr(config.settings, "epochs", 3) == 3
        assert not getattr(config.settings, "flip", False)


def test_a_system_without_the_preset_has_the_small_one():
    configs = planned("--preset=new_people", "--protocols", "loso")
    presets = {name: config.preset for name, config in configs.items()}
    assert presets.pop("meranet") == presets.pop("resnet3d") == "new_people"
    assert set(presets.values()) == {"small"}
    assert (
        configs["ststnet"].settings
        == default_config("synthetic", "small", "ststnet").settings
    )


def test_all_systems_have_the_same_clips():
    """Recordings of key frames alone are left out, whichever systems are chosen."""
    configs = planned("--systems", "meranet", "ststnet", "fmbh", "bi_woof")
    assert {name: config.whole_clips for name, config in configs.items()} == {
        "meranet": False,
        "ststnet": True,
        "fmbh": False,
        "bi_woof": True,
    }
    for name in ("meranet", "fmbh"):
        assert registry.CLIP in registry.find(configs[name].input).features
    configs = planned("--systems", "ststnet", "bi_woof")
    assert all(config.whole_clips for config in configs.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--systems", "stst"], "--systems stst: there is no such system"),
        (["table1", "--systems", "fmbh", "fmbh"], "--systems names fmbh twice"),
        (["table1", "--systems"], "--systems is empty"),
        (["table1", "--protocols"], "--protocols : name at least one, each once"),
        (["table1", "--protocols", "loso", "loso"], "--protocols loso loso: name at"),
        (
            ["table1", "--systems", "bi_woof", "fmbh", "--epochs=3"],
            "--epochs applies to none of bi_woof, fmbh",
        ),
        (
            ["table1", "--systems", "ststnet", "--size=56"],
            "--size applies to none of ststnet",
        ),
        (["figure4", "--systems", "fmbh"], "--systems is for table1 only"),
        (["figure4", "--loso_seeds=2"], "--loso_seeds is for table1 only"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(UserError, match=message):
        reproduction.parse(arguments)


def test_a_preset_that_a_recogniser_does_not_have_is_refused():
    with pytest.raises(UserError, match="lbp_top has paper and small only"):
        default_config("synthetic", "new_people", "lbp_top")


def test_the_docs_state_the_published_numbers():
    lines = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8").splitlines()
    for name, system in table1.SYSTEMS.items():
        if system.accuracies:
            row = next(line for line in lines if line.startswith(f"| `{name}` |"))
            for number, _ in system.accuracies.values():
                assert f" {number:.2f} " in row
        for number in re.findall(r"\d\.\d{4}", system.others):
            assert any(f"`{name}`" in line and number in line for line in lines)


def test_quoted_accuracies():
    """The rows of the paper's Table 1, in per cent."""
    quoted = {
        name: tuple(
            system.accuracies.get(data, (None,))[0]
            for data in ("casme", "casme2", "cas_me_2")
        )
        for name, system in table1.SYSTEMS.items()
        if system.accuracies
    }
    assert quoted == {
        "meranet": (90.5, 91.7, 91.7),
        "resnet3d": (81.0, 83.3, 83.3),
        "stclqp": (57.31, 58.39, None),
        "fmbh": (61.33, 69.11, 73.67),
        "landmark_flow": (56.60, 56.94, None),
        "flow_cnn3d": (54.44, 59.11, None),
        "learnet": (80.62, 76.57, 76.57),
        "microexpstcnn": (None, None, 87.80),
        "microattention": (None, 65.90, None),
    }
