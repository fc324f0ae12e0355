"""A 3D ResNet in PyTorch with the module names of torchvision's ``r3d_18``.

It was written from the description of ``r3d_18``, since torchvision is not needed
otherwise. torchvision has no attention modules.
"""

import torch
from torch import nn

from benchmarks.torch_reference import ChannelAttention, SpatioTemporalAttention


class MlpAttention(nn.Module):
    """Channel attention whose shared network has dense layers, for [B, C, T, H, W]."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x):
        pooled = x.mean((2, 3, 4)), x.amax((2, 3, 4))
        a, b = (self.excite(torch.relu(self.squeeze(p))) for p in pooled)
        return x * torch.sigmoid(a + b)[:, :, None, None, None]


def convolution(inputs, outputs, kernel, stride, padding):
    return nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, attention):
        super().__init__()
        self.conv1 = nn.Sequential(
            convolution(inputs, outputs, 3, stride, 1),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        )
        self.conv2 = nn.Sequential(
            convolution(outputs, outputs, 3, 1, 1), nn.BatchNorm3d(outputs)
        )
        self.channel_attention = self.st_attention = nn.Identity()
        if attention:
            reduction, shared, kernel_size = attention
            if shared == "mlp":
                self.channel_attention = MlpAttention(outputs, reduction)
            else:
                self.channel_attention = ChannelAttention(outputs, reduction, shared)
            self.st_attention = SpatioTemporalAttention(kernel_size)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                convolution(inputs, outputs, 1, stride, 0), nn.BatchNorm3d(outputs)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.conv2(self.conv1(x))
        return torch.relu(self.st_attention(self.channel_attention(y)) + shortcut)


class R3D(nn.Module):
    """Maps [B, C, T, H, W] to logits; by default r3d_18 for Kinetics-400."""

    def __init__(
        self,
        num_classes=400,
        width=64,
        stage_sizes=(2, 2, 2, 2),
        channels=3,
        attention=None,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            convolution(channels, width, (3, 7, 7), (1, 2, 2), (1, 3, 3)),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        inputs = width
        self.layers = []
        for stage, blocks in enumerate(stage_sizes):
            outputs = width * 2**stage
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(BasicBlock(inputs, outputs, stride, attention))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", layer)
            self.layers.append(layer)
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3, 4)))


def randomised(model, seed=0):
    """Returns the model in evaluation mode, with other values than initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif tensor.ndim == 1:
            tensor += 0.1 + 0.4 * torch.rand(tensor.shape, generator=generator)
    return model.eval()
