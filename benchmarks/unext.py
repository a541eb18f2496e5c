"""Training throughput of UNeXt-S beside a network written word by word from the published description.

    .venv/bin/python benchmarks/unext.py [--size 512] [--batch 8] [--steps 4] [--rounds 3] [--threads 2] [--device cpu]

The word-by-word network goes through tokens (N, H·W, C) and back around every depth-wise convolution, and pads, rolls, crops
and joins the groups of a shift. Both have the same weights in turn and the same loop (0.5 cross-entropy + Dice, Adam);
their outputs are compared first. Steps of both alternate, so that other load falls on both; medians are printed.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace import networks

WIDTHS = (8, 16, 32, 64, 128)


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H·W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(x: Tensor, rows: int, columns: int) -> Tensor:
    """(N, H·W, C) → (N, C, H, W)."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], rows, columns).contiguous()


def shifted(x: Tensor, rows: int, columns: int, axis: int) -> Tensor:
    """Tokens as a map, padded, its five groups rolled along ``axis`` (2 or 3), cropped, as tokens again."""
    padded = functional.pad(to_map(x, rows, columns), (2, 2, 2, 2))
    groups = torch.chunk(padded, 5, dim=1)
    rolled = torch.cat([torch.roll(g, step, axis) for g, step in zip(groups, range(-2, 3), strict=True)], 1)
    cropped = torch.narrow(torch.narrow(rolled, 2, 2, rows), 3, 2, columns)
    return cropped.reshape(x.shape[0], x.shape[2], rows * columns).transpose(1, 2)


class Block(nn.Module):
    """The shifted block over tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.rows = nn.Linear(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.columns = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """The input's shape."""
        y = self.rows(shifted(self.norm(x), rows, columns, 2))
        y = functional.gelu(to_tokens(self.depthwise(to_map(y, rows, columns))))
        return x + self.columns(shifted(y, rows, columns, 3))


class Plain(nn.Module):
    """UNeXt-S, step after step of the description, its parameters in the order of segtrace's."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS)
        self.down = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(inputs[i], WIDTHS[i], 3, padding=1), nn.BatchNorm2d(WIDTHS[i])])
            for i in range(3)
        )
        self.tokens = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Conv2d(WIDTHS[i - 1], WIDTHS[i], 3, stride=2, padding=1),
                    nn.LayerNorm(WIDTHS[i]),
                    Block(WIDTHS[i]),
                    nn.LayerNorm(WIDTHS[i]),
                ]
            )
            for i in (3, 4)
        )
        self.up = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(WIDTHS[i + 1], WIDTHS[i], 3, padding=1), nn.BatchNorm2d(WIDTHS[i])])
            for i in (3, 2, 1, 0)
        )
        self.mixed = nn.ModuleList(nn.ModuleList([Block(WIDTHS[i]), nn.LayerNorm(WIDTHS[i])]) for i in (3, 2))
        self.last = nn.Conv2d(WIDTHS[0], WIDTHS[0], 3, padding=1)
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 1, H, W)."""
        skips = []
        for convolution, norm in self.down:
            x = functional.relu(functional.max_pool2d(norm(convolution(x)), 2, 2))
            skips.append(x)
        for embed, before, block, after in self.tokens:
            x = embed(x)
            rows, columns = x.shape[2:]
            x = to_map(after(block(before(to_tokens(x)), rows, columns)), rows, columns)
            skips.append(x)
        skips.pop()
        for level, (convolution, norm) in enumerate(self.up):
            x = functional.interpolate(norm(convolution(x)), scale_factor=(2, 2), mode="bilinear")
            x = torch.add(functional.relu(x), skips.pop())
            if level < 2:
                rows, columns = x.shape[2:]
                block, after = self.mixed[level]
                x = to_map(after(block(to_tokens(x), rows, columns)), rows, columns)
        x = functional.relu(functional.interpolate(self.last(x), scale_factor=(2, 2), mode="bilinear"))
        return self.head(x)


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """0.5 · cross-entropy + Dice of each image."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    p, t = torch.sigmoid(logits).flatten(1), target.flatten(1)
    dice = (2 * (p * t).sum(1) + 1e-5) / (p.sum(1) + t.sum(1) + 1e-5)
    return 0.5 * entropy + 1 - dice.mean()


def main() -> None:
    """Print images a second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("size", 512), ("batch", 8), ("steps", 4), ("rounds", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    plain = Plain()
    ours = networks.create("unext", in_channels=3, out_channels=1, widths=WIDTHS)
    with torch.no_grad():
        for theirs, own in zip(plain.parameters(), ours.parameters(), strict=True):
            theirs.copy_(own)
    x = torch.randn(asked.batch, 3, asked.size, asked.size, device=asked.device)
    target = (torch.rand(asked.batch, 1, asked.size, asked.size, device=asked.device) < 0.2).float()
    both = {"word by word": plain.to(asked.device), "segtrace": ours.to(asked.device)}
    with torch.no_grad():
        apart = (plain.eval()(x) - ours.eval()(x)).abs().max()
    print(f"largest difference of the outputs: {float(apart):.1e}")
    optimisers = {name: torch.optim.Adam(n.train().parameters(), lr=1e-4) for name, n in both.items()}

    def step(name: str) -> float:
        begun = time.perf_counter()
        optimisers[name].zero_grad(set_to_none=True)
        loss = loss_of(both[name](x), target)
        loss.backward()
        optimisers[name].step()
        float(loss.detach())  # waits for the device
        return time.perf_counter() - begun

    for name in both:
        step(name)
    for _ in range(asked.rounds):
        taken: dict[str, list[float]] = {name: [] for name in both}
        for _ in range(asked.steps):
            for name in both:
                taken[name].append(step(name))
        speed = {name: asked.batch / statistics.median(times) for name, times in taken.items()}
        told = ", ".join(f"{name} {value:.2f} images/s" for name, value in speed.items())
        print(f"{told}, ratio {speed['segtrace'] / speed['word by word']:.3f}")


if __name__ == "__main__":
    main()
