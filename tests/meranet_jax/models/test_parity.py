"""Comparison with an implementation in PyTorch, with equal weights and clips."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from meranet_jax import (
    ChannelAttention,
    Conv3D,
    MERANet,
    ResidualAttentionBlock,
    SpatioTemporalAttention,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from benchmarks import torch_reference  # noqa: E402  (imports torch)

pytestmark = pytest.mark.e2e

# The complete depth for one variant; the others differ inside every block.
FLAT = {"width": 8, "stage_sizes": (1, 1)}
VARIANTS = {
    "MERANet": {"width": 8},
    "3D ResNet": {"attention": False, **FLAT},
    "MLP": {"shared": "mlp", **FLAT},
    "zero padding": {"shortcut": "zero_pad", **FLAT},
    "kernel 3": {"kernel_size": 3, **FLAT},
    "kernel 7": {"kernel_size": 7, **FLAT},
}
SMALL = (4, 8, 32, 32, 3)


def random_variables(init, shape, dtype, seed=1):
    """Draws all variables, which compiles nothing; none has its initial value."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            taps = np.prod(leaf.shape[:-2])
            bound = np.sqrt(6 / (taps * sum(leaf.shape[-2:])))  # Xavier
            return rng.uniform(-bound, bound, leaf.shape).astype(dtype)
        start = 1 if path[-1].key in ("scale", "var") else 0
        return (start + rng.uniform(0.1, 0.5, leaf.shape)).astype(dtype)

    x = jax.ShapeDtypeStruct((1, *shape[1:]), np.float32)
    shapes = jax.eval_shape(init, jax.random.key(0), x)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def pair(clip_shape, dtype=np.float32, lowering=None, **options):
    """Returns a network, its variables, an equal PyTorch network, clips and labels."""
    model = MERANet(num_classes=3, lowering=lowering, **options)
    clips = np.random.default_rng(0).normal(size=clip_shape).astype(dtype)
    init = functools.partial(model.init, train=False)
    variables = random_variables(init, clip_shape, dtype)
    torch_model = torch_reference.MERANet(3, **options).to(
        torch.float64 if dtype == np.float64 else torch.float32
    )
    torch_reference.load(torch_model, variables["params"], variables["batch_stats"])
    return model, variables, torch_model, clips, np.arange(len(clips)) % 3


def compute(model, variables, clips, labels, train, *more):
    """Returns loss, logits, new statistics and the gradient by the parameters.

    If there are ``more`` clips, it returns these for each batch.
    """

    def loss(params, clips):
        logits, updated = model.apply(
            variables | {"params": params}, clips, train=train, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (logits, updated["batch_stats"])

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    results = []
    for batch in (clips, *more):
        value, gradient = jax.device_get(compiled(variables["params"], batch))
        results.append((value[0], *value[1], gradient))
    return results if more else results[0]


def compute_torch(torch_model, params, clips, labels, train):
    """Returns loss, logits and the gradient by the parameters, from PyTorch."""
    torch_model.train(train)
    logits = torch_model(torch_reference.channels_first(clips))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    gradient = torch_reference.gradients(torch_model, params)
    return loss.detach().numpy(), logits.detach().numpy(), gradient


def distance(tree, reference):
    """Returns the largest relative distance of any array of a tree."""
    pairs = jax.tree.map(
        # An array may be exactly zero, behind a ReLU without positive inputs.
        lambda a, b: np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-30),
        *jax.device_get((tree, reference)),
    )
    return max(jax.tree.leaves(pairs))


@pytest.mark.parametrize("variant", VARIANTS)
def test_evaluation_mode(variant):
    model, variables, torch_model, clips, labels = pair(SMALL, **VARIANTS[variant])
    loss, logits, _, gradient = compute(model, variables, clips, labels, train=False)
    reference = compute_torch(
        torch_model, variables["params"], clips, labels, train=False
    )
    assert loss == pytest.approx(reference[0], rel=1e-4)
    assert distance(logits, reference[1]) < 1e-4
    assert distance(gradient, reference[2]) < 1e-4


def test_evaluation_mode_at_full_width():
    model, variables, torch_model, clips, labels = pair((1, 16, 112, 112, 3))
    _, logits, _, gradient = compute(model, variables, clips, labels, train=False)
    reference = compute_torch(
        torch_model, variables["params"], clips, labels, train=False
    )
    assert distance(logits, reference[1]) < 1e-4
    # Compared as one vector, for which 4.8e-6 was measured. For single arrays it was up
    # to 1.5e-4, and 2.8e-5 with the primitive; in float64 the forms agree (see below).
    vectors = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (gradient, reference[2])
    ]
    assert distance(*vectors) < 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_mode(variant):
    model, variables, torch_model, clips, labels = pair(SMALL, **VARIANTS[variant])
    loss, logits, statistics, _ = compute(model, variables, clips, labels, train=True)
    reference = compute_torch(
        torch_model, variables["params"], clips, labels, train=True
    )
    assert loss == pytest.approx(reference[0], rel=1e-4)
    assert distance(logits, reference[1]) < 1e-4
    old = variables["batch_stats"]
    assert distance(statistics, new_statistics(torch_model, old, clips.shape)) < 1e-4


def new_statistics(torch_model, old, clip_shape):
    """Converts PyTorch's running statistics to Flax's, with biased variance."""
    samples, frames, height, width, _ = clip_shape

    def of(module, old, stage):
        found = {}
        for name, child in module.named_children():
            if name.startswith("block"):
                stage = int(name[5])
            if isinstance(child, torch.nn.BatchNorm3d):
                halved = 2 ** (stage - 1)
                n = samples * -(-frames // halved)
                n *= -(-height // (2 * halved)) * -(-width // (2 * halved))
                kept = 0.9 * old[name]["var"]
                batch = (child.running_var.numpy() - kept) * (n - 1) / n
                mean = child.running_mean.numpy()
                found[name] = {"mean": mean, "var": kept + batch}
            elif name in old:
                found[name] = of(child, old[name], stage)
        return found

    return of(torch_model, old, 1)


@pytest.mark.parametrize("lowering", ["planes", "primitive"])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "channels"),
    [
        ((3, 7, 7), (1, 2, 2), (3, 6)),
        ((3, 3, 3), (1, 1, 1), (5, 6)),
        ((3, 3, 3), (2, 2, 2), (5, 6)),
        ((1, 1, 1), (2, 2, 2), (5, 6)),
        ((5, 5, 5), (1, 1, 1), (2, 1)),
    ],
)
def test_convolution(kernel_size, strides, channels, lowering):
    module = Conv3D(channels[1], kernel_size, strides, lowering=lowering)
    torch_module = torch.nn.Conv3d(
        *channels, kernel_size, strides, [k // 2 for k in kernel_size], bias=False
    )
    check_module(module, torch_module, (2, 5, 9, 12, channels[0]))


@pytest.mark.parametrize("shared", ["cnn", "mlp"])
def test_channel_attention(shared):
    module = ChannelAttention(reduction=4, shared=shared)
    torch_model = torch_reference.ChannelAttention(16, 4, shared)
    check_module(module, torch_model, (2, 4, 6, 5, 16))


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_spatio_temporal_attention(kernel_size):
    module = SpatioTemporalAttention(kernel_size)
    torch_model = torch_reference.SpatioTemporalAttention(kernel_size)
    check_module(module, torch_model, (2, 4, 8, 8, 6))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("inputs", "stride", "shortcut"),
    [(16, 1, "projection"), (8, 2, "projection"), (8, 2, "zero_pad")],
)
def test_block(inputs, stride, shortcut, train):
    norm = functools.partial(
        nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5
    )
    attentions = (
        functools.partial(ChannelAttention, reduction=4, name="channel_attention"),
        functools.partial(SpatioTemporalAttention, 5, name="st_attention"),
    )
    module = ResidualAttentionBlock(
        16, Conv3D, norm, (stride,) * 3, attentions, shortcut=shortcut
    )
    options = {"attention": True, "reduction": 4, "shared": "cnn", "kernel_size": 5}
    torch_model = torch_reference.ResidualAttentionBlock(
        inputs, 16, stride, options | {"shortcut": shortcut}
    )
    check_module(module, torch_model.train(train), (4, 4, 8, 8, inputs))


def check_module(module, torch_model, shape):
    """Compares output and gradients by input and parameters in float64."""
    torch_model = torch_model.double()
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=shape)
        variables = random_variables(module.init, shape, np.float64)

        def weighted(params, x):
            y, _ = module.apply(
                variables | {"params": params}, x, mutable=["batch_stats"]
            )
            return (y * jnp.cos(y)).sum(), y

        (_, y), (by_params, by_x) = jax.device_get(
            jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(
                variables["params"], x
            )
        )
    # Weights are loaded into the children of a module, so a parent is added.
    parent, params = torch.nn.Module(), {"module": variables["params"]}
    parent.add_module("module", torch_model)
    torch_reference.load(parent, params, {"module": variables.get("batch_stats", {})})
    torch_x = torch_reference.channels_first(x).requires_grad_()
    torch_y = torch_model(torch_x)
    (torch_y * torch_y.cos()).sum().backward()

    def last(array):
        return np.moveaxis(array.detach().numpy(), 1, -1)

    np.testing.assert_allclose(y, last(torch_y), rtol=1e-9, atol=1e-9)
    assert distance(by_x, last(torch_x.grad)) < 1e-9
    reference = torch_reference.gradients(parent, params)["module"]
    assert distance(by_params, reference) < 1e-9


@pytest.mark.parametrize(
    ("lowering", "size"),
    [pytest.param("planes", 24, marks=pytest.mark.slow), ("primitive", 12)],
)
def test_gradient_of_the_complete_network_in_training_mode(lowering, size):
    """With x.max() the error is 4 %, see docs/gradients.md."""
    # Sizes are not powers of two, for which the mean is exact and hides the error. The
    # primitive is slow on a CPU, and its form does not depend on the size.
    shape = (4, 4, size, size, 3)
    with jax.enable_x64(True):
        model, variables, torch_model, clips, labels = pair(
            shape, np.float64, lowering, width=16
        )
        nudge = 1 + 1e-12 * np.random.default_rng(2).choice([-1, 1], clips.shape)
        results = compute(model, variables, clips, labels, True, clips * nudge)
        gradient, nudged = (result[-1] for result in results)
        *_, reference = compute_torch(
            torch_model, variables["params"], clips, labels, train=True
        )
    assert distance(nudged, gradient) < 1e-6
    assert distance(gradient, reference) < 1e-8
