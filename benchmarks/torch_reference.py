"""MERANet in PyTorch, as a reference for benchmarks and parity tests.

It was written from the paper and not from the Flax modules, in PyTorch's own style
(channels first, ``nn.Conv3d``, ``amax``), so that the same error in both is unlikely.
"""

import contextlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class ChannelAttention(nn.Module):
    def __init__(self, channels: int, reduction: int, shared: str):
        super().__init__()
        narrow = max(channels // reduction, 1)
        bias = shared == "mlp"
        self.squeeze = nn.Conv3d(channels, narrow, 1, bias=bias)
        self.excite = nn.Conv3d(narrow, channels, 1, bias=bias)

    def forward(self, x):
        average = F.adaptive_avg_pool3d(x, 1)
        maximum = F.adaptive_max_pool3d(x, 1)
        a, b = (self.excite(F.relu(self.squeeze(p))) for p in (average, maximum))
        return x * torch.sigmoid(a + b)


class SpatioTemporalAttention(nn.Module):
    def __init__(self, kernel_size: int):
        super().__init__()
        self.map = nn.Conv3d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x):
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.map(pooled))


class ResidualAttentionBlock(nn.Module):
    def __init__(self, inputs: int, features: int, stride: int, options: dict):
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, features, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(features)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(features)
        self.channel_attention = self.st_attention = nn.Identity()
        if options["attention"]:
            self.channel_attention = ChannelAttention(
                features, options["reduction"], options["shared"]
            )
            self.st_attention = SpatioTemporalAttention(options["kernel_size"])
        self.changes = stride != 1 or inputs != features
        self.stride, self.added = stride, features - inputs
        self.zero_pad = options["shortcut"] == "zero_pad"
        if self.changes and not self.zero_pad:
            self.projection = nn.Conv3d(inputs, features, 1, stride, bias=False)
            self.projection_norm = nn.BatchNorm3d(features)

    def shortcut(self, x):
        if not self.changes:
            return x
        if not self.zero_pad:
            return self.projection_norm(self.projection(x))
        s = self.stride
        return F.pad(x[:, :, ::s, ::s, ::s], (0,) * 7 + (self.added,))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y = self.st_attention(self.channel_attention(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class MERANet(nn.Module):
    """Maps [B, 3, T, H, W] to logits [B, num_classes]; see ``meranet_jax.MERANet``."""

    def __init__(
        self,
        num_classes: int,
        *,
        attention: bool = True,
        width: int = 64,
        stage_sizes: tuple[int, ...] = (2, 2, 2, 2),
        reduction: int = 16,
        kernel_size: int = 5,
        shared: str = "cnn",
        shortcut: str = "projection",
    ):
        super().__init__()
        options = dict(
            attention=attention,
            reduction=reduction,
            kernel_size=kernel_size,
            shared=shared,
            shortcut=shortcut,
        )
        self.stem = nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.stem_norm = nn.BatchNorm3d(width)
        self.blocks = []
        inputs = width
        for stage, blocks in enumerate(stage_sizes):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                module = ResidualAttentionBlock(
                    inputs, width * 2**stage, stride, options
                )
                inputs = width * 2**stage
                self.add_module(f"block{stage + 1}_{block + 1}", module)
                self.blocks.append(module)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem(x)), inplace=True)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3, 4)))


def normalise(clips: torch.Tensor) -> torch.Tensor:
    """Maps uint8 [B, T, H, W, C] to float32 [B, C, T, H, W], ``channels_last_3d``."""
    clips = clips.float()
    centred = clips - clips.mean((1, 2, 3), keepdim=True)
    deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
    return (centred / deviation.clamp(min=1e-3)).permute(0, 4, 1, 2, 3)


def modes() -> tuple[str, ...]:
    """Returns the modes that this machine supports: eager and ``torch.compile``'s."""
    if torch.cuda.is_available():
        return ("eager", "reduce-overhead", "max-autotune")
    from torch._inductor import cpp_builder

    try:
        cpp_builder.get_cpp_compiler()
    except Exception:  # the type differs between versions of PyTorch
        return ("eager",)
    return ("eager", "default")


def compiled(function, mode: str):
    """Compiles a function for inputs of one size, unless ``mode`` is eager."""
    if mode == "eager":
        return function
    return torch.compile(function, mode=mode, dynamic=False)


def allow(precision: str) -> None:
    """Turns on cuDNN's autotuning, and TF32 if ``precision`` is tf32."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def autocast(precision: str):
    """Returns the autocast context of a forward pass."""
    if precision != "bf16":
        return contextlib.nullcontext()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16)


def load(module: nn.Module, params: dict, batch_stats: dict) -> None:
    """Copies Flax parameters and running statistics into a module by their names."""
    with torch.no_grad():
        for name, child in module.named_children():
            if isinstance(child, nn.Identity):
                continue
            ours, statistics = params[name], batch_stats.get(name, {})
            if isinstance(child, nn.BatchNorm3d):
                child.weight.copy_(_tensor(ours["scale"]))
                child.bias.copy_(_tensor(ours["bias"]))
                child.running_mean.copy_(_tensor(statistics["mean"]))
                child.running_var.copy_(_tensor(statistics["var"]))
            elif isinstance(child, nn.Conv3d | nn.Linear):
                child.weight.copy_(
                    torch_layout(ours["kernel"]).reshape(child.weight.shape)
                )
                if child.bias is not None:
                    child.bias.copy_(_tensor(ours["bias"]))
            else:
                load(child, ours, statistics)


def gradients(module: nn.Module, params: dict) -> dict:
    """Returns the gradients of a module with the names and shapes of ``params``."""
    ours = {}
    for name, child in module.named_children():
        if isinstance(child, nn.Identity):
            continue
        if isinstance(child, nn.BatchNorm3d):
            ours[name] = {"scale": child.weight.grad, "bias": child.bias.grad}
        elif isinstance(child, nn.Conv3d | nn.Linear):
            gradient = child.weight.grad
            axes = (*range(2, gradient.ndim), 1, 0)
            shape = params[name]["kernel"].shape
            ours[name] = {"kernel": gradient.permute(axes).reshape(shape)}
            if child.bias is not None:
                ours[name]["bias"] = child.bias.grad
        else:
            ours[name] = gradients(child, params[name])
            continue
        ours[name] = {key: value.numpy() for key, value in ours[name].items()}
    return ours


def torch_layout(array) -> torch.Tensor:
    """Transposes a kernel [..., C, O] to [O, C, ...]."""
    array = np.asarray(array)
    axes = (array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
    return _tensor(array.transpose(axes))


def channels_first(clips) -> torch.Tensor:
    """Transposes [B, T, H, W, C] to [B, C, T, H, W]."""
    return _tensor(np.moveaxis(np.asarray(clips), -1, 1))


def _tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
