"""Parameters, forms and parity of the networks of other publications."""

import functools
import itertools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax import flags, recognisers
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.convert import state_dict
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry
from meranet_jax.models import cost, layers, specifications
from meranet_jax.models.dropout import CLIP_DROPOUT, Dropout
from meranet_jax.models.microattention import MicroAttention
from meranet_jax.models.rcn import adaptive_average
from meranet_jax.models.settings import NetworkSettings
from meranet_jax.recognisers import Network
from meranet_jax.training import fitters, fold_progress, step

SYSTEMS = (
    "learnet",
    "microexpstcnn",
    "microattention",
    "flow_cnn3d",
    "ststnet",
    "off_apexnet",
    "rcn",
)

# Those with batch normalisation
NORMALISED = ("learnet", "microattention", "ststnet", "rcn")

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
    config = default_config("synthetic", preset, system)
    fitters.check(config)
    # A training part of CAS(ME)^2 has about 36 clips.
    part, batch_size = np.arange(36), config.settings.batch_size
    assert fold_progress.epoch_steps("fold", part, batch_size) >= 1


@pytest.mark.parametrize("preset", ["paper", "small"])
@pytest.mark.parametrize("system", recognisers.BUILT_IN)
def test_defaults_are_those_of_the_command_line(system, preset):
    config = default_config("synthetic", preset, system)
    assert flags.parse(flags.to_arguments(config)) == config


def settings_of(system):
    """Returns the complete settings of training that differ from MERANet's."""
    common = NetworkSettings()
    own = default_config("synthetic", "paper", system).settings
    assert vars(own).keys() == vars(common).keys()
    return {n: v for n, v in vars(own).items() if v != vars(common)[n]}


def test_training_settings():
    """Stated in docs/systems.md, which says what is our choice."""
    plain = {"flip": False, "schedule": "constant"}
    assert settings_of("learnet") == plain | {
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "batch_size": 16,
    }
    assert settings_of("microexpstcnn") == plain | {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "batch_size": 16,
    }
    assert settings_of("microattention") == {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "batch_size": 16,
    }
    assert settings_of("flow_cnn3d") == {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "epochs": 60,
    }
    assert settings_of("ststnet") == plain | {
        "optimizer": "adam",
        "learning_rate": 5e-5,
        "batch_size": 16,
        "epochs": 800,
        "select": "last",
    }
    assert settings_of("off_apexnet") == plain | {
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "batch_size": 32,
    }
    assert settings_of("rcn") == {
        "optimizer": "sgd",
        "momentum": 0.9,
        "learning_rate": 5e-4,
        "schedule": "halving",
        "batch_size": 16,
        "select": "last",
        "flip": False,
    }
    # The rest, which the systems have in common with MERANet
    common = NetworkSettings()
    assert common.epochs == 100 and common.batch_size == 8 and common.flip
    assert common.select == "best_val" and common.schedule == "cosine"
    assert common.momentum == 0 and common.augment == () and not common.balance


def test_microexpstcnn_refuses_16_frames_with_advice():
    config = default_config("synthetic", "paper", "microexpstcnn")
    with pytest.raises(UserError, match="16 frames.* --sampling=tim --frames=18.*96"):
        fitters.check(config.change(frames=16))


@pytest.mark.parametrize(
    ("system", "size", "smallest"),
    [
        ("microexpstcnn", 4, "4 x 4 pixels.* need 5 x 5. Raise --size"),
        ("microattention", 2, "1 x 2 x 2 are too small.* stage1 .*--size is 3"),
        ("flow_cnn3d", 7, r"\(16, 7, 7\), but at least \(4, 8, 8\)"),
        ("ststnet", 1, "1 x 1 x 1 are too small.* no inputs.*--size is 2"),
        ("off_apexnet", 3, "1 x 3 x 3 are too small.* features .*--size is 4"),
        ("rcn", 23, "23 x 23, but at least 24 x 24"),
    ],
)
def test_too_small_clips_are_refused(system, size, smallest):
    config = default_config("synthetic", "paper", system).change(record_size=None)
    with pytest.raises(UserError, match=smallest):
        fitters.check(config.change(size=size))
    fitters.check(config.change(size=size + 1))


class Halving(nn.Module):
    """A network of a user, whose pooling can leave nothing."""

    num_classes: int
    axis_name: str | None = None
    dtype: None = None
    frames: bool = False

    @nn.compact
    def __call__(self, x, *, train):
        window = (8, 1, 1) if self.frames else (1, 8, 8)
        x = nn.max_pool(nn.Conv(2, (1, 3, 3))(x), window, window)
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


@pytest.mark.parametrize(
    ("frames", "advice"),
    [(False, "The smallest --size is 8"), (True, "Raise --size or --frames")],
)
def test_too_small_clips_of_a_network_of_a_user_are_refused(frames, advice):
    network = Network(
        name="halving",
        title=lambda settings: "Halving",
        citation="",
        settings=NetworkSettings,
        make=lambda settings, **arguments: Halving(frames=frames, **arguments),
    )
    with pytest.raises(UserError, match=f"4 x 5 x 5 are too small.*Dense_0.*{advice}"):
        specifications.check_shapes(network, NetworkSettings(), (4, 5, 5, 3))
    specifications.check_shapes(network, NetworkSettings(), (8, 8, 8, 3))


def test_frames_and_record_sizes_that_no_clip_can_have():
    config = default_config("synthetic", "paper", "rcn")
    with pytest.raises(UserError, match="--frames=0"):
        config.change(frames=0)
    with pytest.raises(UserError, match="Set --record_size to a multiple.* 224"):
        config.change(size=112)


def test_remat_is_refused():
    with pytest.raises(UserError, match="--remat applies to meranet and resnet3d"):
        TrainConfig.from_flags(model="ststnet", remat=True)


def test_title_of_a_network_that_lacks_its_pretraining():
    config = default_config("synthetic", "paper", "microattention")
    assert config.title == "MicroAttention, from scratch"
    assert config.change(init="weights.npz").title == "MicroAttention, transferred"


def test_title_of_microexpstcnn_says_that_clips_are_short():
    config = default_config("synthetic", "paper", "microexpstcnn")
    assert config.title == "MicroExpSTCNN, short clips"
    assert config.change(init="weights.npz").title == "MicroExpSTCNN, short clips"
    assert config.change(frames=96).title == "MicroExpSTCNN"


def test_microattention_records_the_usual_frames():
    """By the frames of a clip, clips that overlap are found."""
    config = default_config("synthetic", "paper", "microattention")
    assert config.frames == 16
    assert shape_of(config) == (1, 224, 224, 1)


@pytest.mark.parametrize("system", SYSTEMS)
def test_bfloat16_keeps_parameters_and_logits_in_float32(system):
    config = default_config("synthetic", "paper", system).change(precision="bf16")
    model = step.make_model(config, num_classes=3)
    output, weights = layers.trace(model, shape_of(config))
    assert {leaf.dtype for leaf in jax.tree.leaves((output, weights))} == {
        np.dtype(np.float32)
    }


# Shapes of clips whose middle outputs depend on no pixel beyond the border
GRID_CLIPS = {
    "learnet": (1, 112, 112, 3),
    "microexpstcnn": (18, 12, 12, 1),
    "microattention": (1, 224, 224, 1),
    "flow_cnn3d": (16, 32, 40, 3),
    "ststnet": (1, 28, 28, 3),
    "off_apexnet": (1, 28, 28, 2),
    "rcn": (1, 60, 60, 3),
}

ONES = ("scale", "var")


@pytest.mark.parametrize("system", SYSTEMS)
def test_grids_are_where_outputs_are_centred(system, monkeypatch):
    """The voxels that an output depends on lie symmetrically around its position."""
    # A mean depends on all that a maximum can depend on.
    monkeypatch.setattr(nn, "max_pool", nn.avg_pool)
    network, shape = recognisers.find(system), GRID_CLIPS[system]
    model = network.make(network.settings(), num_classes=2, axis_name=None, dtype=None)
    if system == "microattention":
        model = MicroAttention(num_classes=2, width=1)

    def weight(path, leaf):
        kind = path[-1].key
        value = 1 / np.prod(leaf.shape[:-1]) if kind == "kernel" else kind in ONES
        return np.full(leaf.shape, value, np.float32)

    shapes = layers.weight_shapes(model, shape)
    weights = jax.tree_util.tree_map_with_path(weight, shapes)
    names = layers.map_layers(model, shape)
    assert names
    sizes = {layer.name: layer.output for layer in layers.layers(model, shape)}
    middle = {n: tuple((s - 1) // 2 for s in sizes[n][1:4]) for n in names}

    def outputs(x):
        kept = model.apply(
            weights,
            x,
            train=False,
            capture_intermediates=lambda module, _: (
                module.path in {(n,) for n in names}
            ),
        )[1]["intermediates"]
        return jnp.stack([kept[n]["__call__"][0][0][middle[n]].sum() for n in names])

    gradients = np.asarray(jax.jit(jax.jacrev(outputs))(jnp.ones((1, *shape))))
    for name, gradient in zip(names, gradients[:, 0].any(-1), strict=True):
        grid = layers.find_grid(model, name, sizes[name][1:4], shape[:3])
        for axis, (start, stride) in enumerate(grid):
            others = tuple({0, 1, 2} - {axis})
            seen = np.flatnonzero(gradient.any(others))
            assert len(seen) < shape[axis] or len(seen) == 1, (name, axis)
            centre = (seen[0] + seen[-1]) / 2
            assert centre == start + stride * middle[name][axis], (name, axis)


def test_grid_of_the_attention_of_rcn():
    """Each of its values is the mean over some of the pooled maps."""
    recogniser = recognisers.find("rcn")
    model = recogniser.make(
        recogniser.settings(), num_classes=2, axis_name=None, dtype=None
    )
    for size in (60, 84):
        pooled = (size - 4) // 2
        positions = 2.5 + 2 * np.arange(pooled)  # of values that a stride of 2 leaves
        x = np.broadcast_to(
            positions[None, None, :, None, None], (1, 1, *[pooled] * 2, 1)
        )
        start, stride = model.grid("head", (1, size, size))[1]
        np.testing.assert_allclose(
            adaptive_average(jnp.asarray(x), 5)[0, 0, :, 0, 0],
            start + stride * np.arange(5),
            rtol=1e-6,
        )


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


# For each network the dropout of a training step in order: the layer before it, the
# rate, and the shape of the values of a clip
DROPOUTS = {
    "learnet": [("dense", 0.5, (256,))],
    "microexpstcnn": [("conv", 0.5, (1, 20, 20, 32)), ("dense", 0.5, (128,))],
    "microattention": [],
    "flow_cnn3d": [("dense", 0.5, (128,))],
    "ststnet": [("features", 0.5, (1, 10, 10, 16))],
    "off_apexnet": [("dense1", 0.5, (1024,)), ("dense2", 0.5, (1024,))],
    "rcn": [
        ("stem_norm", 0.5, (1, 28, 28, 32)),
        ("recurrent", 0.5, (1, 14, 14, 32)),
    ],
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_dropout_of_networks(system):
    config = default_config("synthetic", "paper", system)
    model = step.make_model(config, num_classes=3, axis_name=None)
    calls = []

    def note(call, args, kwargs, context):
        output = call(*args, **kwargs)
        module = context.module
        if isinstance(module, Dropout):
            assert kwargs["train"]
            calls.append((module.rate, args[0].shape[1:]))
        elif context.method_name == "__call__" and len(module.path) == 1:
            calls.append(module.name)
        return output

    def train(key, clips):
        keys = {"params": key, CLIP_DROPOUT: key}
        with nn.intercept_methods(note):
            return model.init_with_output(keys, clips, train=True)

    clips = jax.ShapeDtypeStruct((2, *shape_of(config)), np.float32)
    jax.eval_shape(train, jax.random.key(0), clips)
    found = [
        (before, *call)
        for before, call in itertools.pairwise(calls)
        if isinstance(call, tuple)
    ]
    assert found == DROPOUTS[system]
    # The name of the axis over which a batch is divided reaches all of them.
    axes = []

    def note_axis(call, args, kwargs, context):
        if isinstance(context.module, Dropout):
            axes.append(context.module.axis_name)
        return call(*args, **kwargs)

    with nn.intercept_methods(note_axis):
        layers.trace(model.clone(axis_name="batch"), shape_of(config))
    assert axes == ["batch"] * len(found)


# A complete run of STSTNet is tested in runs/test_systems.py.
@pytest.mark.parametrize("system", ["learnet", "microattention", "rcn"])
def test_two_devices_compute_the_same_as_one(system):
    """Logits and batch statistics in training, with dropout."""
    config = default_config("synthetic", "paper", system)
    make = functools.partial(step.make_model, config, num_classes=3)
    if system == "microattention":
        make = functools.partial(MicroAttention, num_classes=3, width=8)
    shape = CLIPS[system][1:]
    clips = np.random.default_rng(0).normal(100, 50, (4, *shape)).astype(np.float32)
    weights = jax.tree.map(np.float32, random_weights(make(), shape))

    def compute(clips, model):
        keys = {CLIP_DROPOUT: jax.random.key(0)}
        output = model.apply(
            weights, clips, train=True, rngs=keys, mutable="batch_stats"
        )
        return output[0], output[1].get("batch_stats", {})

    logits, statistics = jax.jit(functools.partial(compute, model=make()))(clips)
    divided, divided_statistics = jax.pmap(
        functools.partial(compute, model=make(axis_name="batch")), axis_name="batch"
    )(clips.reshape(2, 2, *shape))
    np.testing.assert_allclose(
        divided.reshape(4, 3), logits, rtol=1e-3, atol=1e-4 * np.abs(logits).max()
    )
    assert statistics
    jax.tree.map(
        lambda two, one: np.testing.assert_allclose(two[1], one, rtol=1e-3, atol=1e-5),
        divided_statistics,
        statistics,
    )


def test_adaptive_averages_share_values():
    x = jnp.arange(7.0).reshape(1, 1, 1, 7, 1) * jnp.ones((1, 1, 7, 1, 1))
    averages = adaptive_average(x, 5)
    # Of 7 values: 0 1, 1 2, 2 3 4, 4 5, 5 6
    np.testing.assert_allclose(averages[0, 0, 2, :, 0], [0.5, 1.5, 3, 4.5, 5.5])


# Parity with PyTorch


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


def draw_example(system, model):
    """Returns random clips and weights."""
    clips = np.random.default_rng(0).normal(100, 50, CLIPS[system])
    if system in ("flow_cnn3d", "off_apexnet", "microexpstcnn"):
        clips /= 50
    return clips, random_weights(model, clips.shape[1:])


def compute(model, weights, clips):
    """Returns logits, new statistics, and gradients by parameters and clips."""

    def weighted(params, clips):
        with nn.intercept_methods(skip_dropout):
            logits, updated = model.apply(
                weights | {"params": params}, clips, train=True, mutable="batch_stats"
            )
        return (logits * jnp.cos(logits)).sum(), (logits, updated)

    compiled = jax.jit(jax.value_and_grad(weighted, (0, 1), has_aux=True))
    (_, (logits, updated)), gradients = compiled(weights["params"], clips)
    return jax.device_get((logits, updated.get("batch_stats", {}), *gradients))


def load_torch(model, names, clips):
    """Loads weights into a network of PyTorch, and returns clips for it."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in names.items()}
    x = np.moveaxis(clips, -1, 1)
    x = torch.from_numpy(x[:, :, 0] if clips.shape[1] == 1 else x).double()
    model.double().train()(x)  # the number of inputs of dense layers
    model.load_state_dict(tensors)
    return x


def compute_torch(model, names, clips):
    """The same as ``compute``, with arrays by their names in PyTorch."""
    x = load_torch(model, names, clips)
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


@pytest.mark.parametrize("system", SYSTEMS)
def test_training_is_that_of_pytorch(system):
    """Logits, gradients and batch statistics, without dropout."""
    model, network, of_torch = make_pair(system)
    with jax.enable_x64(True):
        clips, weights = draw_example(system, model)
        logits, statistics, by_params, by_clips = compute(model, weights, clips)
    names = state_dict.to_torch(network, weights)
    expected = compute_torch(of_torch, names, clips)
    check_close(logits, expected[0])
    assert np.std(logits, 0).min() > 1e-4  # outputs depend on the clips
    by_name = state_dict.to_torch(network, {"params": by_params})
    assert by_name.keys() == expected[2].keys()
    for name, gradient in by_name.items():
        check_close(gradient, expected[2][name])
    check_close(by_clips, expected[3])
    if statistics:
        named = state_dict.to_torch(network, {"batch_stats": statistics})
        found = {n: a for n, a in named.items() if not n.endswith("tracked")}
        assert found.keys() == expected[1].keys()
        for name, array in found.items():
            check_close(array, expected[1][name])


# Without batch normalisation, the evaluation is the training but for dropout.
@pytest.mark.parametrize("system", NORMALISED)
def test_evaluation_is_that_of_pytorch(system):
    import torch

    model, network, of_torch = make_pair(system)
    with jax.enable_x64(True):
        clips, weights = draw_example(system, model)
        logits = jax.jit(functools.partial(model.apply, train=False))(weights, clips)
    x = load_torch(of_torch, state_dict.to_torch(network, weights), clips)
    with torch.no_grad():
        check_close(np.asarray(logits), of_torch.eval()(x).numpy())


@pytest.mark.parametrize("system", SYSTEMS)
def test_state_dicts_are_converted_back(system):
    network = recognisers.find(system)
    model = network.make(network.settings(), num_classes=3, axis_name=None, dtype=None)
    shapes = layers.weight_shapes(model, CLIPS[system][1:])
    weights = jax.tree.map(np.float32, random_weights(model, CLIPS[system][1:]))
    arrays = state_dict.to_torch(network, weights)
    again = state_dict.from_torch(Path("file"), arrays, network, shapes, system)
    for kind, tree in again.items():
        jax.tree.map(np.testing.assert_array_equal, tree, weights[kind])
