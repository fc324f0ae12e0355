"""The networks of other publications in PyTorch, written from their descriptions.

Layers have the names that state dicts of our networks have. Dense layers that follow
maps see them as ours do: channels last, unless the published code is in PyTorch.
"""

import torch
import torch.nn.functional as F
from torch import nn


def last(x):
    """Flattens [B, C, ...], channels last."""
    return x.movedim(1, -1).flatten(1)


class SameConv(nn.Conv2d):
    """A convolution of stride 2 with the padding of Keras, more on the far side."""

    def __init__(self, inputs, outputs, size):
        super().__init__(inputs, outputs, size, stride=2)

    def forward(self, x):
        pads = []
        for length in (x.shape[3], x.shape[2]):
            outputs = (length + 1) // 2
            total = max(2 * (outputs - 1) + self.kernel_size[0] - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class LEARNet(nn.Module):
    def __init__(self, classes):
        super().__init__()

        def norm(channels):
            return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)

        self.stem = SameConv(3, 16, 3)
        for branch in "1234":
            self.add_module(f"branch{branch}_conv1", SameConv(16, 16, 1))
            self.add_module(f"branch{branch}_conv2", SameConv(16, 32, 3))
            self.add_module(f"branch{branch}_conv3", SameConv(32, 64, 5))
        for branch in "24":
            self.add_module(f"branch{branch}_conv1_norm", norm(16))
            self.add_module(f"branch{branch}_conv2_norm", norm(32))
        self.branches_norm = norm(256)
        self.last = SameConv(256, 256, 3)
        self.dense = nn.LazyLinear(256)
        self.head = nn.Linear(256, classes)

    def branch(self, number, x, other=None):
        """Returns the maps of each convolution; ``other`` are those to be added."""
        maps = []
        for layer in (1, 2, 3):
            x = getattr(self, f"branch{number}_conv{layer}")(x).relu()
            maps.append(x)
            if other and layer < 3:
                norm = getattr(self, f"branch{number}_conv{layer}_norm")
                x = norm(x + other[layer - 1])
        return maps

    def forward(self, x):
        x = self.stem(x).relu()
        first, third = self.branch(1, x), self.branch(3, x)
        second, fourth = self.branch(2, x, first), self.branch(4, x, third)
        x = torch.cat([maps[-1] for maps in (first, second, third, fourth)], 1)
        x = self.last(self.branches_norm(x)).relu()
        return self.head(self.dense(last(x)).relu())


class MicroExpSTCNN(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv3d(1, 32, (15, 3, 3))
        self.dense = nn.LazyLinear(128)
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool3d(self.conv(x).relu(), 3)
        return self.head(self.dense(last(x)).relu())


class Stage(nn.Module):
    def __init__(self, inputs, outputs, halves):
        super().__init__()

        def conv(inputs, size, stride=1):
            return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)

        self.halves = halves
        if halves:
            self.norm = nn.BatchNorm2d(inputs)
            self.projection = conv(inputs, 1, 2)
        self.conv1 = conv(inputs, 3, 2 if halves else 1)
        self.conv1_norm = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, 3)
        self.attention = conv(3 * outputs, 1)

    def forward(self, x):
        shortcut = x
        if self.halves:
            x = self.norm(x).relu()
            shortcut = self.projection(x)
        one = self.conv1_norm(self.conv1(x)).relu()
        two = self.conv2(one)
        maps = self.attention(torch.cat([shortcut, one, two], 1))
        # A frozen convolution whose weights are 1 / C
        mean = maps.new_full((1, maps.shape[1], 1, 1), 1 / maps.shape[1])
        return (1 + F.conv2d(maps, mean).sigmoid()) * (shortcut + two)


class MicroAttention(nn.Module):
    def __init__(self, classes, width=64):
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1)
        self.stem = nn.Conv2d(1, width, 7, 2, 3)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stage1 = Stage(width, width, False)
        self.stage2 = Stage(width, 2 * width, True)
        self.stage3 = Stage(2 * width, 4 * width, True)
        self.stage4 = Stage(4 * width, 8 * width, True)
        self.last_norm = nn.BatchNorm2d(8 * width)
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x):
        x = self.stem_norm(self.stem(self.input_norm(x))).relu()
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.head(self.last_norm(x).relu().mean((2, 3)))


class Stream(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv3d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv3d(32, 64, 3, padding=1)

    def forward(self, x):
        x = F.max_pool3d(self.conv1(x).relu(), (1, 2, 2))
        x = F.max_pool3d(self.conv2(x).relu(), 2)
        return F.max_pool3d(self.conv3(x).relu(), 2)


class FlowCNN3D(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.u, self.v, self.grey = Stream(), Stream(), Stream()
        self.dense = nn.LazyLinear(128)
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        streams = zip((self.u, self.v, self.grey), x.split(1, 1), strict=True)
        x = torch.cat([stream(channel) for stream, channel in streams], 1)
        return self.head(self.dense(last(x)).relu())


class STSTNet(nn.Module):
    """With the names of the authors' state dicts."""

    def __init__(self, classes):
        super().__init__()
        for number, filters in enumerate((3, 5, 8), 1):
            self.add_module(f"conv{number}", nn.Conv2d(3, filters, 3, padding=2))
            self.add_module(f"bn{number}", nn.BatchNorm2d(filters))
        self.fc = nn.Linear(400, classes)

    def forward(self, x):
        streams = [
            F.max_pool2d(norm(conv(x).relu()), 3, 3, 1)
            for conv, norm in (
                (self.conv1, self.bn1),
                (self.conv2, self.bn2),
                (self.conv3, self.bn3),
            )
        ]
        return self.fc(F.avg_pool2d(torch.cat(streams, 1), 2).flatten(1))


class OffApexNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        for name in "uv":
            self.add_module(f"{name}_conv1", nn.Conv2d(1, 6, 5, padding=2))
            self.add_module(f"{name}_conv2", nn.Conv2d(6, 16, 5, padding=2))
        self.dense1 = nn.Linear(1568, 1024)
        self.dense2 = nn.Linear(1024, 1024)
        self.head = nn.Linear(1024, classes)

    def forward(self, x):
        streams = []
        for index, name in enumerate("uv"):
            y = x[:, index, None]
            for layer in "12":
                conv = getattr(self, f"{name}_conv{layer}")
                y = F.max_pool2d(conv(y).relu(), 2)
            streams.append(y.flatten(1))
        x = self.dense1(torch.cat(streams, 1)).relu()
        return self.head(self.dense2(x).relu())


class Recurrent(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.again = nn.Conv2d(channels, channels, 3, padding=1)
        self.again_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.first_norm(self.first(x)).relu()
        y = self.again_norm(self.again(x + y)).relu()
        return self.again_norm(self.again(x + y)).relu()


class RCN(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 5)
        self.stem_norm = nn.BatchNorm2d(32)
        self.recurrent = Recurrent(32)
        self.head = nn.Linear(800, classes)

    def forward(self, x):
        x = F.max_pool2d(self.stem_norm(self.stem(x / 255)).relu(), 2)
        early = F.adaptive_avg_pool2d(x, 5)  # [B, 32, 5, 5]
        attention = 0
        for weights in self.head.weight:
            cam = (weights.view(32, 5, 5) * early).mean(1).flatten(1)  # [B, 25]
            cam = cam - cam.min(1, keepdim=True).values
            attention = attention + cam / cam.max(1, keepdim=True).values
        attention = attention.view(-1, 1, 5, 5) / len(self.head.weight)
        late = F.adaptive_avg_pool2d(F.max_pool2d(self.recurrent(x), 2), 5)
        return self.head((late * attention).flatten(1))
