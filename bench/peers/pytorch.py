"""The peer of bench/pytorch.ts: the same models in PyTorch, trained and asked on the CPU when told to.

Reads one JSON object a line from stdin and answers each with one on stdout: {"do": "open", ...}, {"do": "train", "count": n},
{"do": "predict", "count": n}. It holds one model at a time. Images are bytes `[batch, height, width, channels]`, as ours.
What PyTorch offers for speed on CPUs is used: channels_last, the fused optimizer, one foreach call for the moving average,
fused attention.
"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Cnn(nn.Module):
    """recipe/models/cnn.ts"""

    def __init__(self, height, width, channels, classes, filters=32, dense=128):
        super().__init__()
        self.first = nn.Conv2d(channels, filters, 3, padding=1)
        self.second = nn.Conv2d(filters, 2 * filters, 3, padding=1)
        self.hidden = nn.Linear(2 * filters * (height // 4) * (width // 4), dense)
        self.logits = nn.Linear(dense, classes)

    def forward(self, x):
        for convolution in (self.first, self.second):
            x = F.relu(F.max_pool2d(convolution(x), 2))
        x = F.dropout(torch.flatten(x, 1), 0.25, self.training)
        x = F.relu(self.hidden(x))
        return self.logits(F.dropout(x, 0.5, self.training))


class WideBlock(nn.Module):
    """Zagoruyko and Komodakis, arXiv 1605.07146: normalization and rectifier before each convolution, no dropout."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.normalization_1 = nn.BatchNorm2d(inputs, eps=1e-3, momentum=0.01)
        self.convolution_1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.normalization_2 = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.convolution_2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.projection = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        activated = F.relu(self.normalization_1(x))
        shortcut = x if self.projection is None else self.projection(activated)
        branch = self.convolution_1(activated)
        return shortcut + self.convolution_2(F.relu(self.normalization_2(branch)))


class WideResNet(nn.Module):
    def __init__(self, height, width, channels, classes, depth=16, widen=2):
        super().__init__()
        blocks = (depth - 4) // 6
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*[
            WideBlock(widths[stage] if index == 0 else widths[stage + 1], widths[stage + 1], 2 if stage > 0 and index == 0 else 1)
            for stage in range(3) for index in range(blocks)
        ])
        self.final = nn.BatchNorm2d(widths[3], eps=1e-3, momentum=0.01)
        self.logits = nn.Linear(widths[3], classes)

    def forward(self, x):
        x = F.relu(self.final(self.blocks(self.stem(x))))
        return self.logits(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.projection(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class ViTBlock(nn.Module):
    def __init__(self, width, heads, survival):
        super().__init__()
        self.normalization_1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.normalization_2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.survival = survival

    def keep(self, branch):
        if not self.training or self.survival == 1:
            return branch
        survives = torch.rand(branch.shape[0], 1, 1) < self.survival
        return branch * (survives / self.survival)

    def forward(self, x):
        x = x + self.keep(self.attention(self.normalization_1(x)))
        return x + self.keep(self.contract(F.gelu(self.expand(self.normalization_2(x)))))


class ViT(nn.Module):
    """Touvron et al., arXiv 2012.12877, without the distillation token."""

    def __init__(self, height, width, channels, classes, patch=4, dim=192, depth=12, heads=3, survival=0.9):
        super().__init__()
        self.patches = nn.Conv2d(channels, dim, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, (height // patch) * (width // patch) + 1, dim) * 0.02)
        # Linear from 1 to the last block's, as timm's `drop_path_rate`.
        self.blocks = nn.Sequential(*[ViTBlock(dim, heads, 1 - (1 - survival) * index / max(1, depth - 1)) for index in range(depth)])
        self.final = nn.LayerNorm(dim, eps=1e-6)
        self.logits = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.logits(self.final(self.blocks(x))[:, 0])


MODELS = {"cnn": Cnn, "wide-resnet": WideResNet, "vit-tiny": ViT}
RATE, WEIGHT_DECAY, EMA_DECAY = 1e-3, 1e-4, 0.995


class Held:
    def __init__(self, request):
        torch.manual_seed(1)
        batch, height, width, channels = request["images"]
        classes = request["classes"]
        self.model = MODELS[request["model"]](height, width, channels, classes).to(memory_format=torch.channels_last)
        # The same bytes and targets as bench/pytorch.ts makes.
        index = torch.arange(batch * height * width * channels, dtype=torch.int64)
        self.images = ((index * 2654435761 % 2**32) >> 24).to(torch.uint8).view(batch, height, width, channels)
        self.targets = F.one_hot(torch.arange(batch) % classes, classes).float()
        decays = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=RATE, fused=True)
        self.parameters = list(self.model.parameters())
        self.averages = [p.detach().clone() for p in self.parameters]
        self.forward = torch.compile(self.model) if request.get("compile") else self.model

    def pixels(self):
        return (self.images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)) / 255

    def train(self, steps):
        self.model.train()
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = -(self.targets * F.log_softmax(self.forward(self.pixels()), 1)).sum(1).mean()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(self.averages, self.parameters, 1 - EMA_DECAY)
            loss.item()
        return time.perf_counter() - start

    def predict(self, batches):
        self.model.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(batches):
                F.log_softmax(self.forward(self.pixels()), 1).numpy().sum()
        return time.perf_counter() - start


def main():
    torch.set_num_threads(int(sys.argv[1]))
    held = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "open":
            held = Held(request)
            answer = {"parameters": sum(p.numel() for p in held.parameters)}
        elif request["do"] == "train":
            answer = {"seconds": held.train(request["count"])}
        else:
            answer = {"seconds": held.predict(request["count"])}
        assert all(math.isfinite(v) for v in answer.values() if isinstance(v, float))
        print(json.dumps(answer), flush=True)


main()
