"""Parameters, forms and parity of the networks of other publications."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax import recognisers
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.convert import state_dict
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry
from meranet_jax.models import cost, layers
from meranet_jax.models.dropout import CLIP_DROPOUT, Dropout
from meranet_jax.models.learnet import LEARNet
from meranet_jax.models.microattention import MicroAttention
from meranet_jax.models.rcn import adaptive_average
from meranet_jax.training import fitters, step

SYSTEMS = (
    "learnet",
    "microexpstcnn",
    "microattention",
    "flow_cnn3d",
    "ststnet",
    "off_apexnet",
    "rcn",
)


def shape_of(config):
    return registry.find(config.input).shape(config.frames, config.size)


def count(system, classes=3, **changes):
    """Counts parameters and running statistics of a system with its defaults."""
    config = default_config("synthetic", "paper", system).change(**changes)
    model = step.make_model(config, num_classes=classes)
    shapes = layers.weight_shapes(model, shape_of(config))
    return cost.size(shapes["params"]), cost.size(shapes["batch_stats"])


def test_parameters_of_learnet():
    # stem; four branches of 1x1, 3x3 and 5x5 kernels; normalisations of two of them and
    # of the 256 maps, with two parameters and two statistics of a channel; the last
    # convolution; two dense layers.
    branch = (16 * 16 + 16) + (9 * 16 * 32 + 32) + (25 * 32 * 64 + 64)
    norms = 2 * (16 + 32) + 256
    rest = (27 * 16 + 16) + 4 * branch + (9 * 256 * 256 + 256) + (4096 * 256 + 256)
    assert count("learnet") == (1_866_243 - 704, 704)
    assert sum(count("learnet")) == rest + 4 * norms + 257 * 3
    assert sum(count("learnet", 5)) == 1_866_757
    assert sum(count("learnet", 8)) == 1_867_528


@pytest.mark.parametrize(
    ("frames", "expected"), [(96, 44_241_667), (18, 1_643_267), (17, 1_643_267)]
)
def test_parameters_of_microexpstcnn(frames, expected):
    # (frames - 14) / 3 x 62 / 3 x 62 / 3 maxima of 32 channels
    flat = (frames - 14) // 3 * 20 * 20 * 32
    assert count("microexpstcnn", frames=frames) == (expected, 0)
    assert expected == (15 * 9 * 32 + 32) + (flat * 128 + 128) + 129 * 3


@pytest.mark.parametrize(("classes", "expected"), [(3, 5_944_773), (5, 5_945_799)])
def test_parameters_of_microattention(classes, expected):
    # 1 / C, which is frozen there and computed as a mean here, for each stage
    frozen = 64 + 128 + 256 + 512
    assert frozen == 960
    assert count("microattention", classes)[0] == expected - frozen
    attention = sum(3 * c * c for c in (64, 128, 256, 512))
    assert attention + frozen == 1_045_440
    stages = (9 + 9) * 64 * 64 + 2 * 64
    for c in (128, 256, 512):  # preceding normalisation, shortcut, two convolutions
        stages += 2 * c // 2 + c * c // 2 + 9 * c * c // 2 + 2 * c + 9 * c * c
    rest = 2 + (49 * 64 + 64) + 2 * 64 + 2 * 512 + 513 * classes
    assert rest + stages + attention + frozen == expected


def test_parameters_of_the_other_systems():
    # Three convolutions of 3, 5 and 8 filters, normalised; 5 x 5 x 16 values
    assert count("ststnet") == (1_683, 2 * 16)
    assert 16 * (27 + 1) + 2 * 16 + 401 * 3 == 1_683
    # Two streams of 5x5 kernels; 2 x 7 x 7 x 16 values; dense layers
    stream = (25 * 6 + 6) + (25 * 6 * 16 + 16)
    assert count("off_apexnet") == (2_664_475, 0)
    assert 2 * stream + 1569 * 1024 + 1025 * 1024 + 1025 * 3 == 2_664_475
    # 5x5, 1x1 and 3x3 kernels, each normalised; 5 x 5 x 32 values
    convolutions = (75 + 1) * 32 + (32 + 1) * 32 + (288 + 1) * 32
    assert count("rcn") == (15_331, 3 * 2 * 32)
    assert convolutions + 3 * 2 * 32 + 801 * 3 == 15_331
    # Three streams; 4 x 8 x 8 x 192 values; our own choice
    stream = (27 * 16 + 16) + (27 * 16 * 32 + 32) + (27 * 32 * 64 + 64)
    assert count("flow_cnn3d") == (6_500_963, 0)
    assert 3 * stream + (49152 + 1) * 128 + 129 * 3 == 6_500_963


@pytest.mark.parametrize("preset", ["paper", "small"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_defaults_are_accepted(system, preset):
    fitters.check(default_config("synthetic", preset, system))


def test_training_settings_of_publications():
    def settings(system):
        own = default_config("synthetic", "paper", system).settings
        return own.optimizer, own.learning_rate, own.batch_size, own.epochs

    assert settings("ststnet") == ("adam", 5e-5, 32, 800)
    assert settings("microexpstcnn") == ("sgd", 0.01, 16, 100)
    assert settings("off_apexnet")[:2] == ("adam", 1e-4)
    assert settings("rcn") == ("sgd", 5e-4, 64, 100)


def test_microexpstcnn_refuses_16_frames_with_advice():
    config = default_config("synthetic", "paper", "microexpstcnn")
    with pytest.raises(UserError, match="16 frames.* --sampling=tim --frames=18.*96"):
        fitters.check(config.change(frames=16))


@pytest.mark.parametrize("system", ["rcn", "flow_cnn3d"])
def test_too_small_clips_are_refused(system):
    config = default_config("synthetic", "paper", system)
    with pytest.raises(UserError, match="at least"):
        fitters.check(config.change(size=4, record_size=8))


def test_remat_is_refused():
    with pytest.raises(UserError, match="--remat applies to meranet and resnet3d"):
        TrainConfig.from_flags(model="ststnet", remat=True)


def test_title_of_a_network_that_lacks_its_pretraining():
    config = default_config("synthetic", "paper", "microattention")
    assert config.title == "MicroAttention, from scratch"
    assert config.change(init="weights.npz").title == "MicroAttention, transferred"


@pytest.mark.parametrize("system", SYSTEMS)
def test_bfloat16_keeps_parameters_and_logits_in_float32(system):
    config = default_config("synthetic", "paper", system).change(precision="bf16")
    model = step.make_model(config, num_classes=3)
    output, weights = layers.trace(model, shape_of(config))
    assert {leaf.dtype for leaf in jax.tree.leaves((output, weights))} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_grids_of_maps_lie_in_the_clip(system):
    """The outer values of each layer's map are within a stride of the clip's ends."""
    config = default_config("synthetic", "paper", system)
    model, shape = step.make_model(config, num_classes=3), shape_of(config)
    known = layers.map_layers(model, shape)
    for layer in layers.layers(model, shape):
        if layer.name not in known or layer.name in ("u", "v", "grey"):
            continue
        grid = layers.find_grid(model, layer.name, layer.output[1:4], shape[:3])
        for (start, stride), values, length in zip(
            grid, layer.output[1:4], shape[:3], strict=True
        ):
            end = start + stride * (values - 1)
            # Convolutions without padding begin later.
            most = {"microexpstcnn": 7, "rcn": 3}.get(system, stride)
            assert -stride <= start <= most
            assert length - 1 - most <= end < length + stride


def test_grid_of_learnet_is_where_its_outputs_are_centred():
    """The inputs that an output depends on lie symmetrically around its position."""
    model = LEARNet(num_classes=3)
    shape = (1, 112, 112, 3)
    ones = jax.tree.map(
        lambda leaf: np.ones(leaf.shape, np.float32), layers.weight_shapes(model, shape)
    )

    def output(x):
        kept = model.apply(
            ones,
            x,
            train=False,
            capture_intermediates=lambda module, _: module.name == "last",
        )[1]
        return kept["intermediates"]["last"]["__call__"][0][0, 0, 1, 1].sum()

    gradient = np.asarray(jax.grad(output)(jnp.ones((1, *shape))))[0, 0, ..., 0]
    rows = np.flatnonzero(gradient.any(1))
    start, stride = model.grid("last", shape[:3])[1]
    assert (rows[0] + rows[-1]) / 2 == start + stride == 45


# Dropout


def draw(clips, key=0, **options):
    dropout = Dropout(0.5, **options)
    rngs = {CLIP_DROPOUT: jax.random.key(key)}
    return dropout.apply({}, clips, train=True, rngs=rngs)


def test_dropout_keeps_the_mean_and_depends_on_its_key():
    clips = jnp.ones((4, 50, 50))
    dropped = np.asarray(draw(clips))
    assert set(np.unique(dropped)) == {0, 2}
    assert dropped.mean((1, 2)) == pytest.approx([1] * 4, abs=0.1)
    assert (dropped[0] != dropped[1]).any()
    assert (dropped != draw(clips, key=1)).any()
    np.testing.assert_array_equal(dropped, draw(clips))
    assert Dropout(0.5).apply({}, clips, train=False) is clips


def test_dropout_does_not_depend_on_the_number_of_devices():
    clips = jnp.ones((4, 7))
    divided = jax.pmap(lambda x: draw(x, axis_name="batch"), axis_name="batch")(
        clips.reshape(2, 2, 7)
    )
    np.testing.assert_array_equal(divided.reshape(4, 7), draw(clips))


def test_adaptive_averages_share_values():
    x = jnp.arange(7.0).reshape(1, 1, 1, 7, 1) * jnp.ones((1, 1, 7, 1, 1))
    averages = adaptive_average(x, 5)
    # Of 7 values: 0 1, 1 2, 2 3 4, 4 5, 5 6
    np.testing.assert_allclose(averages[0, 0, 2, :, 0], [0.5, 1.5, 3, 4.5, 5.5])


# Parity with PyTorch


# Sizes at which padding is asymmetric, the pooling rounds up, and averages overlap
CLIPS = {
    "learnet": (3, 1, 36, 36, 3),
    "microexpstcnn": (2, 18, 12, 12, 1),
    "microattention": (3, 1, 64, 60, 1),
    "flow_cnn3d": (2, 5, 17, 16, 3),
    "ststnet": (4, 1, 28, 28, 3),
    "off_apexnet": (2, 1, 28, 28, 2),
    "rcn": (3, 1, 60, 60, 3),
}


def make_pair(system):
    """Returns a network of ours and its specification, and one of PyTorch."""
    torch_systems = pytest.importorskip(
        "tests.meranet_jax.models.torch_systems", reason="PyTorch is not installed"
    )
    network = recognisers.find(system)
    of_torch = {
        "learnet": torch_systems.LEARNet,
        "microexpstcnn": torch_systems.MicroExpSTCNN,
        "microattention": functools.partial(torch_systems.MicroAttention, width=8),
        "flow_cnn3d": torch_systems.FlowCNN3D,
        "ststnet": torch_systems.STSTNet,
        "off_apexnet": torch_systems.OffApexNet,
        "rcn": torch_systems.RCN,
    }[system](3)
    if system == "microattention":
        return MicroAttention(num_classes=3, width=8), network, of_torch
    model = network.make(network.settings(), num_classes=3, axis_name=None, dtype=None)
    return model, network, of_torch


def random_weights(model, clip_shape):
    """Draws all weights, none of which has its initial value."""
    rng = np.random.default_rng(1)

    def value(path, leaf):
        if path[-1].key == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            return rng.normal(0, 1 / np.sqrt(fan_in), leaf.shape)
        start = 1 if path[-1].key in ("scale", "var") else 0
        return start + rng.uniform(0.1, 0.5, leaf.shape)

    shapes = layers.weight_shapes(model, clip_shape)
    return jax.tree_util.tree_map_with_path(value, shapes)


def skip_dropout(call, args, kwargs, context):
    return args[0] if isinstance(context.module, Dropout) else call(*args, **kwargs)


def compute(model, weights, clips, train):
    """Returns logits, new statistics, and gradients by parameters and clips."""

    def weighted(params, clips):
        with nn.intercept_methods(skip_dropout):
            logits, updated = model.apply(
                weights | {"params": params}, clips, train=train, mutable="batch_stats"
            )
        return (logits * jnp.cos(logits)).sum(), (logits, updated)

    compiled = jax.jit(jax.value_and_grad(weighted, (0, 1), has_aux=True))
    (_, (logits, updated)), gradients = compiled(weights["params"], clips)
    return jax.device_get((logits, updated.get("batch_stats", {}), *gradients))


def compute_torch(model, names, clips, train):
    """The same, with arrays by their names in PyTorch."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in names.items()}
    x = np.moveaxis(clips, -1, 1)
    x = torch.from_numpy(x[:, :, 0] if clips.shape[1] == 1 else x).double()
    model.double().train(train)(x)  # the number of inputs of dense layers
    model.load_state_dict(tensors)
    seen = {}
    for name, module in model.named_modules():
        if "BatchNorm" in type(module).__name__:
            module.register_forward_hook(
                lambda module, args, _, name=name: seen.setdefault(name, []).append(
                    args[0].numel() // args[0].shape[1]
                )
            )
    x.requires_grad_()
    logits = model(x)
    (logits * logits.cos()).sum().backward()
    statistics = {}
    for name, numbers in seen.items():
        module = model.get_submodule(name)
        statistics[f"{name}.running_mean"] = module.running_mean.numpy()
        # PyTorch's variance is unbiased. Each call reduces the weight of the old one.
        kept = (1 - module.momentum) ** len(numbers) * names[f"{name}.running_var"]
        new = (module.running_var.numpy() - kept) * (numbers[0] - 1) / numbers[0]
        statistics[f"{name}.running_var"] = kept + new
    by_parameters = {n: p.grad.numpy() for n, p in model.named_parameters()}
    by_clips = np.moveaxis(x.grad.numpy(), 1, -1).reshape(clips.shape)
    return logits.detach().numpy(), statistics, by_parameters, by_clips


def check_close(found, expected):
    assert found.shape == expected.shape
    # The gradient by a bias before a normalisation is zero.
    distance = np.linalg.norm(found - expected)
    assert distance < 1e-7 * np.linalg.norm(expected) + 1e-11


# Without batch normalisation, training is the evaluation but for dropout.
NORMALISED = ("learnet", "microattention", "ststnet", "rcn")


@pytest.mark.parametrize(
    ("system", "train"),
    [(s, t) for s in SYSTEMS for t in (False, True) if not t or s in NORMALISED],
)
def test_outputs_and_gradients_are_those_of_pytorch(system, train):
    model, network, of_torch = make_pair(system)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        clips = rng.normal(100, 50, CLIPS[system])
        if system in ("flow_cnn3d", "off_apexnet", "microexpstcnn"):
            clips /= 50
        weights = random_weights(model, clips.shape[1:])
        logits, statistics, by_params, by_clips = compute(model, weights, clips, train)
    names = state_dict.to_torch(network, weights)
    expected = compute_torch(of_torch, names, clips, train)
    check_close(logits, expected[0])
    assert np.std(logits, 0).min() > 1e-4  # outputs depend on the clips
    by_name = state_dict.to_torch(network, {"params": by_params})
    assert by_name.keys() == expected[2].keys()
    for name, gradient in by_name.items():
        check_close(gradient, expected[2][name])
    check_close(by_clips, expected[3])
    if train and statistics:
        named = state_dict.to_torch(network, {"batch_stats": statistics})
        found = {n: a for n, a in named.items() if not n.endswith("tracked")}
        assert found.keys() == expected[1].keys()
        for name, array in found.items():
            check_close(array, expected[1][name])
