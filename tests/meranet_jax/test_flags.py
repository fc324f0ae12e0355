"""Command-line flags and saved settings."""

import dataclasses
import json

import pytest

from meranet_jax import flags, recognisers
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.models.settings import MERANetSettings, ResNet3DSettings
from meranet_jax.recognisers import Network
from meranet_jax.runs import layout, writer

# Settings as version 0.1 saved them: no model and no input, but attention.
OLD = {"dataset": "casme2", "preset": "small", "epochs": 3, "width": 16, "size": 56}
OLD |= {"attention": True, "attentions": ["channel"], "kernel_size": 7, "reduction": 8}
OLD |= {"shared": "mlp", "stage_sizes": [1, 1], "window": 32, "precision": "fp32"}


def test_settings_of_version_0_1_are_read():
    config = flags.read_flags(OLD)
    assert config.model == "meranet" and config.input == "rgb" and config.size == 56
    own = config.settings
    assert isinstance(own, MERANetSettings) and own.stage_sizes == (1, 1)
    assert (own.attentions, own.kernel_size, own.shared) == (("channel",), 7, "mlp")
    plain = flags.read_flags(OLD | {"attention": False})
    assert plain.model == "resnet3d" and type(plain.settings) is ResNet3DSettings
    assert plain.settings.epochs == 3 and plain.title == "3D ResNet"


@pytest.mark.parametrize("attention", [True, False])
def test_a_run_of_version_0_1_can_be_resumed_with_its_settings(tmp_path, attention):
    old = OLD | {"attention": attention, "name": "old"}
    config = flags.read_flags(old).change(runs_dir=str(tmp_path))
    path = layout.run_path(config)
    path.mkdir()
    saved = {"config": old, "records": []}
    (path / "config.json").write_text(json.dumps(saved))
    writer.check_free(config, path)
    with pytest.raises(UserError, match="other settings: epochs 3, not 4"):
        writer.check_free(config.change(epochs=4), path)
    other = config.change(model="meranet" if not attention else "resnet3d")
    with pytest.raises(UserError, match="model "):
        writer.check_free(other, path)


def test_saved_settings_come_back():
    for model in recognisers.BUILT_IN:
        config = default_config("casme2,cas_me_2", "small", model)
        saved = json.loads(json.dumps(config.flags()))
        assert flags.read_flags(saved) == config
        assert flags.parse(flags.to_arguments(config)) == config


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"epochs": "3"}, ValueError),
        ({"model": 3}, Exception),
        ({"kernel_size": 4}, UserError),
        ({"unknown": 1}, UserError),
    ],
)
def test_saved_settings_that_cannot_be_are_refused(changes, error):
    with pytest.raises(error):
        flags.read_flags(OLD | changes)


def test_another_recogniser_keeps_the_settings_that_it_shares():
    config = default_config("synthetic", "small").change(epochs=5, kernel_size=3)
    plain = config.change(model="resnet3d")
    assert plain.settings.epochs == 5 and plain.settings.width == 16
    again = plain.change(model="meranet")
    assert again.settings.epochs == 5 and again.settings.kernel_size == 5
    lbp = config.change(model="lbp_top")
    assert lbp.input == "raw" and lbp.size == 56
    with pytest.raises(UserError, match="--input=rgb.*accepts raw"):
        lbp.change(input="rgb")
    with pytest.raises(UserError, match="has no flag --epochs"):
        lbp.change(epochs=3)


def specification(settings):
    return Network(
        name="mine",
        title=lambda settings: "Mine",
        citation="us",
        settings=settings,
        make=lambda settings, **arguments: None,
    )


def test_settings_of_a_network_must_have_those_of_training(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Bare:
        units: int = 3

    monkeypatch.setattr(recognisers, "find", lambda name: specification(Bare))
    with pytest.raises(UserError, match="Bare must derive from"):
        flags.settings_type("mine:BARE")


def test_a_setting_may_not_have_the_name_of_a_flag_of_all_runs(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Clashing(ResNet3DSettings):
        size: int = 3

    monkeypatch.setattr(recognisers, "find", lambda name: specification(Clashing))
    with pytest.raises(UserError, match="size has the name of a flag"):
        flags.settings_type("mine:CLASHING")


def test_a_recogniser_whose_packages_are_missing_says_what_to_install(monkeypatch):
    def missing(name, flag):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    recognisers.find.cache_clear()
    monkeypatch.setattr(recognisers, "load", missing)
    with pytest.raises(UserError, match=r"sklearn.*pip install -e \"\.\[descriptors\]"):
        recognisers.find("lbp_top")
    # Nor does it hide what is wrong with a flag.
    recognisers.find.cache_clear()
    monkeypatch.undo()
    real = recognisers.load
    monkeypatch.setattr(
        recognisers,
        "load",
        lambda name, flag: missing(name, flag) if "descr" in name else real(name, flag),
    )
    with pytest.raises(UserError, match="Did you mean --epochs"):
        flags.parse(["--epoch=3"])
    recognisers.find.cache_clear()
    assert TrainConfig().model == "meranet"
