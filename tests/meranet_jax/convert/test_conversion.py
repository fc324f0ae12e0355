"""Conversions between formats, and parity of converted networks with PyTorch."""

import dataclasses
import functools
import hashlib
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from meranet_jax import MERANet, weights_file
from meranet_jax.convert import __main__ as command_line
from meranet_jax.convert import conversion, networks, state_dict, torch_file
from meranet_jax.convert.conversion import Converted, Overrides
from meranet_jax.errors import UserError
from meranet_jax.models.settings import NetworkSettings
from meranet_jax.models.torch_names import find_architecture, resnet_name
from meranet_jax.recognisers import Network
from meranet_jax.weights_file import Metadata
from tests.meranet_jax.test_package import EXTRAS
from tests.programs import ROOT

SMALL = {"width": 4, "stage_sizes": (1, 2)}
METADATA = Metadata(
    model="meranet",
    settings=SMALL | {"shortcut": "projection", "reduction": 2},
    input="rgb",
    frames=4,
    size=16,
    classes=("disgust", "happiness", "surprise"),
    origin="Random numbers.",
    datasets=("synthetic",),
    subjects=("s1",),
)


def random_weights(made, seed=0):
    """Returns weights of a network with random numbers, and positive variances."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.uniform(0.1, 1, shape).astype(np.float32)
        for name, shape in weights_file.shapes(made.shapes).items()
    }
    return weights_file.unflatten(arrays)


def make(**changes):
    """Returns weights with changed metadata."""
    metadata = dataclasses.replace(METADATA, **changes)
    made = networks.make(metadata, "here", import_modules=True)
    return Converted(random_weights(made), metadata, made)


def check_equal(weights, expected):
    found, wanted = map(weights_file.flatten, (weights, expected))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def saved(tmp_path, name="a.npz", **changes):
    converted = make(**changes)
    conversion.save(tmp_path / name, converted)
    return tmp_path / name, converted


VARIANTS = {
    "MERANet": {},
    "3D ResNet": {"model": "resnet3d", "settings": SMALL},
    "one stage": {"model": "resnet3d", "settings": {"width": 4, "stage_sizes": (2,)}},
    "zero padding": {"settings": SMALL | {"shortcut": "zero_pad"}},
    "MLP": {"settings": SMALL | {"shared": "mlp", "reduction": 2}},
    "kernel 3": {"settings": SMALL | {"kernel_size": 3}},
    "channel": {"settings": SMALL | {"attentions": ("channel",)}},
    "spatio-temporal": {"settings": SMALL | {"attentions": ("spatio_temporal",)}},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pt"])
def test_round_trip(variant, suffix, tmp_path):
    path, converted = saved(tmp_path, f"a{suffix}", **VARIANTS[variant])
    again = conversion.read(path)
    assert again.metadata == converted.metadata
    check_equal(again.weights, converted.weights)


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_dicts_without_metadata(variant, tmp_path):
    """The network is found from the names and shapes."""
    converted = make(**VARIANTS[variant])
    arrays = state_dict.to_torch(converted.made.network, converted.weights)
    shapes = {name: array.shape for name, array in arrays.items()}
    found = find_architecture(shapes)
    assert (found.model, found.channels, found.num_classes) == (
        converted.metadata.model,
        3,
        3,
    )
    metadata = dataclasses.replace(converted.metadata, settings=found.settings)
    made = networks.make(metadata, "here", import_modules=False)
    weights = state_dict.from_torch("a", arrays, made.network, made.shapes, "title")
    check_equal(weights, converted.weights)
    for name, value in converted.metadata.settings.items():
        if name != "reduction":  # several r can give the same network
            assert found.settings[name] == value


def test_names_of_layers():
    for layer, name in (
        ("stem", "stem.0"),
        ("stem_norm", "stem.1"),
        ("head", "fc"),
        ("block1_1/conv1", "layer1.0.conv1.0"),
        ("block4_2/norm2", "layer4.1.conv2.1"),
        ("block2_1/projection_norm", "layer2.0.downsample.1"),
        (
            "block1_1/channel_attention/squeeze",
            "layer1.0.channel_attention.squeeze",
        ),
        ("block1_1/MyAttention_0/conv1", "layer1.0.MyAttention_0.conv1"),
        ("other/conv1", "other.conv1"),
    ):
        assert resnet_name(layer) == name


def apply(converted, clips):
    model = MERANet(
        num_classes=len(converted.metadata.classes),
        attention=converted.metadata.model == "meranet",
        **converted.metadata.settings,
    )
    run = jax.jit(functools.partial(model.apply, train=False))
    return np.asarray(run(dict(converted.weights), clips))


def compare_with_torch(converted, torch_model, clips):
    """Asserts that both networks have the same outputs to 1e-4."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.no_grad():
        reference = torch_model(torch.from_numpy(np.moveaxis(clips, -1, 1).copy()))
    reference = reference.numpy()
    outputs = apply(converted, clips)
    assert outputs.shape == reference.shape
    assert np.std(reference) > 0.01  # outputs depend on the classes
    assert np.abs(outputs - reference).max() < 1e-4 * np.abs(reference).max()


def torch_network(seed=0, **options):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.meranet_jax.convert import torch_r3d

    return torch_r3d.randomised(torch_r3d.R3D(**options), seed)


def random_clips(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "sequence"])
@pytest.mark.parametrize(
    ("attention", "stage_sizes"),
    [(None, (1, 1, 1)), ((2, "cnn", 5), (1, 2)), ((4, "mlp", 3), (2, 1))],
)
def test_outputs_of_converted_state_dicts(attention, stage_sizes, zipped, tmp_path):
    options = {"num_classes": 5, "width": 8, "stage_sizes": stage_sizes}
    model = torch_network(**options, attention=attention)
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    converted = conversion.read(path)
    assert converted.metadata.model == ("meranet" if attention else "resnet3d")
    compare_with_torch(converted, model, random_clips(2, 6, 20, 24, 3))


@pytest.mark.e2e
def test_outputs_of_the_complete_r3d_18(tmp_path):
    """All sizes are those of torchvision's network for Kinetics-400."""
    model = torch_network()
    torch = pytest.importorskip("torch")
    assert sum(p.numel() for p in model.parameters()) == 33_371_472  # torchvision's
    path = tmp_path / "r3d_18.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    command_line.main([str(path)])
    converted = conversion.read(tmp_path / "r3d_18.npz")
    assert converted.metadata.settings == {
        "width": 64,
        "stage_sizes": (2, 2, 2, 2),
        "shortcut": "projection",
    }
    assert len(converted.metadata.classes) == 400
    compare_with_torch(converted, model, random_clips(1, 16, 112, 112, 3))


@pytest.mark.parametrize("attention", [None, (2, "cnn", 5), (2, "mlp", 5)])
def test_pytorch_networks_load_our_state_dicts(attention, tmp_path):
    model = torch_network(num_classes=3, attention=attention, **SMALL)
    torch = pytest.importorskip("torch")
    changes = VARIANTS["3D ResNet"]
    if attention:
        changes = {"settings": SMALL | {"reduction": 2, "shared": attention[1]}}
    path, converted = saved(tmp_path, "a.pth", **changes)
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    compare_with_torch(converted, model, random_clips(2, 4, 16, 16, 3))


@pytest.fixture
def r3d(tmp_path):
    """Arrays of a small state dict without metadata, by name."""
    converted = make(**VARIANTS["3D ResNet"])
    return state_dict.to_torch(converted.made.network, converted.weights)


def rewrite(path, arrays):
    """Writes a state dict as if PyTorch had written it."""
    torch_file.write(path, arrays, "")
    content = path.read_bytes().replace(b"meranet_jax.json", b"serialization_id")
    path.write_bytes(content)
    return path


CHANGES = {
    "missing": (
        {"layer2.0.conv1.1.weight": None},
        "layer2.0.conv1.1.weight is missing",
    ),
    "no head": ({"fc.bias": None}, "has no fc.bias"),
    "no stem": ({"stem.0.weight": None}, "has no stem.0.weight"),
    "additional": ({"fc.more": np.ones(1, "f4")}, "fc.more is not expected"),
    "additional count": (
        {"fc.num_batches_tracked": np.ones((), "i8")},
        "fc.num_batches_tracked is not expected",
    ),
    "shape": (
        {"fc.weight": np.ones((3, 9), "f4")},
        r"fc.weight is \(3, 9\), not \(3, 8",
    ),
    "type": ({"stem.1.bias": np.ones(4, "i8")}, "stem.1.bias has the type int64"),
    "axes": ({"stem.0.weight": np.ones(4, "f4")}, "stem.0.weight has 1 axes, not 5"),
    "infinite": (
        {"stem.1.bias": np.full(4, np.inf, "f4")},
        "values that are not finite",
    ),
    "stages": ({"layer9.0.conv1.0.weight": np.ones(1, "f4")}, "no layers layer1.0"),
    "blocks": (
        {"layer2.7.conv1.0.weight": np.ones(1, "f4")},
        "layer2.7.conv1.0.weight is not expected|layer2.2.conv1.0.weight is missing",
    ),
    "channels": ({"stem.0.weight": np.ones((4, 2, 3, 7, 7), "f4")}, "with --input"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_state_dicts_are_refused(case, r3d, tmp_path):
    changes, message = CHANGES[case]
    path = rewrite(tmp_path / "a.pth", r3d)
    check_equal(conversion.read(path).weights, make(**VARIANTS["3D ResNet"]).weights)
    changed = {n: array for n, array in (r3d | changes).items() if array is not None}
    rewrite(path, changed)
    with pytest.raises(UserError, match=message):
        command_line.main([str(path)])
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_weights_for_optical_flow(tmp_path):
    path, converted = saved(tmp_path, "a.pth", input="flow")
    assert converted.weights["params"]["stem"]["kernel"].shape[-2] == 2
    assert conversion.read(path).metadata == converted.metadata
    arrays, _ = torch_file.read(path)
    rewrite(path, arrays)
    with pytest.raises(UserError, match="for clips with 2 channels. Name its input"):
        conversion.read(path)
    again = conversion.read(path, overrides=Overrides(input="flow"))
    assert again.metadata.input == "flow"
    check_equal(again.weights, converted.weights)
    with pytest.raises(UserError, match=r"stem.0.weight is \(4, 2, 3, 7, 7\), not"):
        conversion.read(path, overrides=Overrides(input="rgb"))


def test_counts_of_batches_may_be_missing(r3d, tmp_path):
    kept = {n: array for n, array in r3d.items() if not n.endswith("batches_tracked")}
    assert len(kept) < len(r3d)
    converted = conversion.read(rewrite(tmp_path / "a.pth", kept))
    check_equal(converted.weights, make(**VARIANTS["3D ResNet"]).weights)


def test_metadata_of_state_dicts_of_other_programs(r3d, tmp_path):
    path = rewrite(tmp_path / "a.pth", r3d)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert conversion.read(path).metadata == Metadata(
        model="resnet3d",
        settings=SMALL | {"shortcut": "projection"},
        input="rgb",
        frames=16,
        size=112,
        classes=("class_0", "class_1", "class_2"),
        origin=f"Converted from a.pth (SHA-256 {digest[:8]}), a PyTorch file.",
        datasets=None,
        subjects=None,
    )


def test_the_weights_of_kinetics_are_known_by_their_digest(r3d, tmp_path, monkeypatch):
    path = rewrite(tmp_path / "a.pth", r3d)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(conversion, "_KINETICS_DIGEST", digest)
    metadata = conversion.read(path).metadata
    assert metadata.datasets == ("kinetics400",)
    assert metadata.classes == ("kinetics_000", "kinetics_001", "kinetics_002")
    assert metadata.origin.startswith("r3d_18 of torchvision, trained on Kinetics-400.")


def test_the_digest_in_the_name_of_the_published_file_is_compared(r3d, tmp_path):
    path = rewrite(tmp_path / "r3d_18-b3b3357e.pth", r3d)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    with pytest.raises(UserError, match=f"begins with {digest}, not with b3b3357e"):
        conversion.read(path)
    renamed = path.rename(tmp_path / f"r3d_18-{digest}.pth")
    assert conversion.read(renamed).metadata.model == "resnet3d"


def test_command_line(r3d, tmp_path, capsys):
    path = rewrite(tmp_path / "a.pth", r3d)
    command_line.main([str(path)])
    command_line.main(
        [
            *(str(tmp_path / "a.npz"), str(tmp_path / "b.safetensors")),
            *("--classes=disgust, happiness,surprise", "--frames=8", "--size=56"),
            *("--origin=Mine.", "--datasets=casme2,casme"),
        ]
    )
    printed = capsys.readouterr().out
    # Stem 1772, blocks 880, 2672 and 3488, head 27
    assert "a.pth: 3D ResNet, 8,839 parameters, 3 classes. Converted from" in printed
    for name in ("a.npz: weights file", "b.safetensors: safetensors"):
        size = (tmp_path / name.partition(":")[0]).stat().st_size
        assert f"{name}, {size:,} bytes" in printed
    converted = conversion.read(tmp_path / "b.safetensors")
    assert converted.metadata == Metadata(
        model="resnet3d",
        settings=SMALL | {"shortcut": "projection"},
        input="rgb",
        frames=8,
        size=56,
        classes=("disgust", "happiness", "surprise"),
        origin="Mine.",
        datasets=("casme2", "casme"),
    )
    check_equal(converted.weights, make(**VARIANTS["3D ResNet"]).weights)


def test_arguments_that_cannot_be_used(tmp_path):
    path, _ = saved(tmp_path)
    other = tmp_path / "b.npz"
    for arguments, message in (
        ([path], "Name the file to write"),
        (
            [path, tmp_path / "b.h5"],
            "b.h5: the suffix names the format. Expected one of .npz",
        ),
        ([path, path], "a.npz exists already. Name another, or set --overwrite"),
        ([path, other, "--seed=0"], "--seed and --fold can only be used with a run"),
        ([path, other, "--classes=a,b"], "names 2 classes, but .* have 3 outputs"),
        (
            [path, other, "--input=smell"],
            "--input=smell is no input of meranet, which acc",
        ),
        ([path, other, "--frames=0"], "--frames=0 must be at least 1"),
        ([tmp_path / "c.npz", other], "There is no file"),
        ([tmp_path / "c.h5", other], "neither the folder of a run nor a file of the"),
        ([tmp_path, other], "has no config.json: it is not a run folder"),
    ):
        with pytest.raises(UserError, match=message):
            command_line.main([*map(str, arguments)])
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
    command_line.main([str(path), str(path), "--size=32", "--overwrite"])
    assert conversion.read(path).metadata.size == 32


def test_weights_of_another_network_are_refused(tmp_path):
    converted = make()
    other = dataclasses.replace(converted.metadata, settings=SMALL | {"width": 8})
    for name in ("a.npz", "a.safetensors", "a.pth"):
        conversion.save(tmp_path / name, dataclasses.replace(converted, metadata=other))
        with pytest.raises(UserError, match=f"{name} does not have the weights of MER"):
            conversion.read(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"colour": 1}}, "colour=1 is no setting of the architecture of"),
        (
            {"settings": {"width": "4"}},
            "width='4' is no setting of the architecture",
        ),
        ({"settings": {"width": 0}}, "--width=0 must be at least 1"),
        ({"frames": 10**30}, "MERANet: Python int too large"),
        ({"model": "none"}, "--model=none is no recogniser"),
        ({"model": "lbp_top", "settings": {}}, "lbp_top, a descriptor. Only networks"),
        ({"input": "none"}, "--input=none is no input of meranet, which accepts rgb"),
        ({"input": "raw"}, "--input=raw is no input of meranet"),
        ({"model": "planted:NETWORK"}, "needs the Python module of planted:NETWORK"),
        (
            {"settings": SMALL | {"attentions": ("channel", "planted:Attention")}},
            "needs the Python module of planted:Attention, and importing it runs",
        ),
    ],
)
def test_metadata_that_cannot_be_used(changes, message, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    converted = make()
    changed = dataclasses.replace(converted.metadata, **changes)
    for name in ("a.npz", "a.safetensors", "a.pth"):
        conversion.save(
            tmp_path / name, dataclasses.replace(converted, metadata=changed)
        )
        with pytest.raises(UserError, match=message):
            conversion.read(tmp_path / name)


CONVERT = f"""
import sys
sys.modules.update(dict.fromkeys({[*EXTRAS, "torch", "safetensors"]}))
from meranet_jax.convert import __main__ as command_line

command_line.main(sys.argv[1:])
"""


def test_files_need_the_core_only(tmp_path):
    path, converted = saved(tmp_path, "a.pth")
    for source, target in (
        ("a.pth", "a.npz"),
        ("a.npz", "a.safetensors"),
        ("a.safetensors", "b.pth"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", CONVERT, tmp_path / source, tmp_path / target],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.pth").read_bytes() == path.read_bytes()


def test_messages_of_the_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "meranet_jax.convert", tmp_path / "a.pth"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == f"error: There is no file {tmp_path / 'a.pth'}.\n"


@dataclasses.dataclass(frozen=True)
class TinySettings(NetworkSettings):
    features: int = 3


class Tiny(nn.Module):
    features: int
    num_classes: int

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Conv(self.features, (1, 3, 3))(x)  # [B, T, H, W, features]
        x = x * self.param("factor", nn.initializers.ones_init(), (self.features,))
        return nn.Dense(self.num_classes)(x.mean((1, 2, 3)))


TINY = Network(
    name="tiny",
    title=lambda settings: "Tiny",
    citation="this test",
    settings=TinySettings,
    make=lambda settings, *, num_classes, **arguments: Tiny(
        settings.features, num_classes
    ),
)


def test_networks_of_users(tmp_path):
    path, converted = saved(
        tmp_path, "a.pth", model=f"{__name__}:TINY", settings={"features": 5}
    )
    arrays, _ = torch_file.read(path)
    assert {name: array.shape for name, array in arrays.items()} == {
        "Conv_0.bias": (5,),
        "Conv_0.weight": (5, 3, 1, 3, 3),
        "Dense_0.bias": (3,),
        "Dense_0.weight": (3, 5),
        "factor": (5,),
    }
    with pytest.raises(UserError, match="Set --import_modules if you trust it"):
        conversion.read(path)
    again = conversion.read(path, import_modules=True)
    check_equal(again.weights, converted.weights)
    assert again.made.title == "Tiny"


def test_two_arrays_of_one_name_are_refused():
    weights = {"params": {"a": {"kernel": np.ones(1), "scale": np.ones(1)}}}
    with pytest.raises(UserError, match="would both be a.weight in PyTorch"):
        state_dict.to_torch(TINY, weights)


def test_overrides_replace_metadata(tmp_path):
    path, converted = saved(tmp_path)
    overrides = Overrides(origin="Other.", datasets=("casme",))
    with pytest.raises(UserError, match="were trained on synthetic. Leave out --dat"):
        conversion.read(path, overrides=overrides)
    unknown = dataclasses.replace(converted.metadata, datasets=None)
    conversion.save(path, dataclasses.replace(converted, metadata=unknown))
    metadata = conversion.read(path, overrides=overrides).metadata
    assert metadata == dataclasses.replace(
        converted.metadata, origin="Other.", datasets=("casme",)
    )


def test_ststnet_of_its_authors(tmp_path, capsys):
    """A state dict that PyTorch has written has the same outputs."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.meranet_jax.convert import torch_r3d
    from tests.meranet_jax.models import torch_systems

    torch_model = torch_r3d.randomised(torch_systems.STSTNet(3))
    torch.save(torch_model.state_dict(), tmp_path / "006.pth")
    command_line.main([str(tmp_path / "006.pth"), "--classes=negative,positive,other"])
    assert "STSTNet, 1,683 parameters, 3 classes" in capsys.readouterr().out
    converted = conversion.read(tmp_path / "006.npz")
    metadata = converted.metadata
    assert (metadata.model, metadata.input) == ("ststnet", "onset_apex_strain")
    assert (metadata.size, metadata.classes[2]) == (28, "other")

    network = converted.made.network
    model = network.make(network.settings(), num_classes=3, axis_name=None, dtype=None)
    clips = np.random.default_rng(0).uniform(0, 255, (4, 1, 28, 28, 3))
    clips = clips.astype(np.float32)
    found = np.asarray(model.apply(converted.weights, clips, train=False))
    with torch.no_grad():
        expected = torch_model(
            torch.from_numpy(clips[:, 0].transpose(0, 3, 1, 2).copy())
        )
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert np.std(found, 0).min() > 0.1

    conversion.save(tmp_path / "again.pth", converted)  # with the authors' names
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    torch_systems.STSTNet(3).load_state_dict(again)


def test_a_state_dict_that_lacks_a_layer_of_ststnet(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.meranet_jax.models import torch_systems

    arrays = torch_systems.STSTNet(3).state_dict()
    del arrays["bn2.running_var"]
    torch.save(arrays, tmp_path / "a.pth")
    with pytest.raises(UserError, match="bn2.running_var"):
        conversion.read(tmp_path / "a.pth")
