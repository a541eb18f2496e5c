"""Batch normalisation over the samples of all processes of a world.

Each process has a part of the batch; mean and variance are those of the whole, as on one device. torch's own
SyncBatchNorm runs on GPUs alone and counts each sample that passes through; here a sample that only stands in, so that
a process without a share takes part in a step, counts nothing. Forward sends two sums a channel, backward two more.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from segtrace.train.world import Share


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias of (N, C, …); mean and variance are over all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, counts: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.dim())]
        wide = _wide(x)
        voxels = wide.new_tensor([x.numel() // x.shape[1]])
        # centred by the mean first: the difference of two large sums would lose digits
        sums = _of_all(torch.cat([wide.sum(axes), voxels]), counts)
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = wide - _along(mean, x)
        variance = _of_all(centred.square().sum(axes), counts) / count
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.counts = counts
        ctx.mark_non_differentiable(mean, variance, count)
        found = centred * _along(scale * weight, x) + _along(bias, x)
        return found.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        axes = [0, *range(2, x.dim())]
        g, normal = _wide(gradients[0]), (_wide(x) - _along(mean, x)) * _along(scale, x)
        own = torch.stack([g.sum(axes), (g * normal).sum(axes)])
        sums = _of_all(own, ctx.counts) / count
        # what stands in has no part in mean and variance, and its own gradient is 0
        inner = g - _along(sums[0], x) - normal * _along(sums[1], x) if ctx.counts else g
        found = inner * _along(scale * weight, x)
        return found.to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None, None


def _wide(values: Tensor) -> Tensor:
    """In the type that sums are made in: float64 on a CPU, where it costs little."""
    return values.double() if values.device.type == "cpu" else values.float()


def _of_all(sums: Tensor, counts: bool) -> Tensor:
    """The sums of all processes; of this one only where its samples count."""
    sums = sums.clone() if counts else torch.zeros_like(sums)
    dist.all_reduce(sums)
    return sums


def _along(values: Tensor, like: Tensor) -> Tensor:
    """(C) to go with (N, C, …)."""
    return values.view(1, -1, *(1,) * (like.dim() - 2))


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation whose batch is that of all processes; outside training as any other."""

    share: Share

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (N, C, …), normalised."""
        if not self.training:
            by_batch = self.running_mean is None
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, 0.0, self.eps
            )
        channels = x.shape[1]
        if sum(self.share.counts) * x[0, 0].numel() < 2:  # in the words of torch's own
            raise ValueError(f"Expected more than 1 value per channel when training, got {tuple(x.shape)}")
        weight = torch.ones(channels, device=x.device) if self.weight is None else self.weight
        bias = torch.zeros(channels, device=x.device) if self.bias is None else self.bias
        with torch.autocast(x.device.type, enabled=False):
            found, mean, variance, count = _Normalise.apply(x, weight, bias, self.eps, self.share.own > 0)
        self._remember(mean, variance, count)
        result: Tensor = found
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def shared(module: nn.Module, share: Share) -> nn.Module:
    """``module`` with each batch normalisation in it replaced by one over all processes, of the same parameters."""
    made: dict[nn.Module, nn.Module] = {}

    def replaced(inner: nn.Module) -> nn.Module:
        if isinstance(inner, _BatchNorm):
            if inner not in made:
                made[inner] = _like(inner, share)
            return made[inner]
        for name, child in inner.named_children():
            new = replaced(child)
            if new is not child:
                setattr(inner, name, new)
        return inner

    return replaced(module)


def _like(norm: _BatchNorm, share: Share) -> SharedBatchNorm:
    made = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    made.training, made.share = norm.training, share
    return made
