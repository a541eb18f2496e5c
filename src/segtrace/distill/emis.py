"""Self-knowledge distillation of EMIS: every inner decoder level learns from the labels and from the final output.

The poster (Abraha, EMIS: Enhanced medical image segmentation, integrating self-distillation, self-attention and
multi-scale fusion) names a "KD layer" in its algorithm and gives neither its form nor its weights. Read here as a
training loss, gone at inference, over heads on the inner decoder levels, those between the bottleneck and the level at
the input's size; a head is one 1×1 convolution (899 parameters on a U-Net of widths 64 to 1024 and one logit, 451 on
32 to 512):

    L = loss(Y, G) + Σ_i [α · loss(A_i, G) + β · T² · KL(A_i ‖ stop-gradient Y)]

* A_i are the heads' logits, brought to the input's size by linear interpolation;
* KL is over probabilities softened by the temperature T, the sum over classes, the mean over voxels and batch, the
  background included; ``teacher_first`` gives KL(Y ‖ A_i), the direction of Hinton et al. (2015), instead;
* α = 0.5, β = 0.3 and T = 3 (the middle of the usual 2 to 4) are choices, each an option;
* ``bottleneck`` puts a head on the bottleneck as well.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.distill.dsd import Loss, Scale, divergence, softened
from segtrace.errors import SegtraceError

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_MODES = {2: "bilinear", 3: "trilinear"}


class SelfDistillation(nn.Module):
    """The objective with its heads; see the module's documentation."""

    def __init__(
        self,
        *,
        channels: Sequence[int],
        first: int,
        out_channels: int,
        background: bool,
        spatial_dims: int,
        loss_of: Loss,
        alpha: float,
        beta: float,
        tau: float,
        teacher_first: bool,
    ) -> None:
        super().__init__()
        self.loss_of, self.background, self.first = loss_of, background, first
        self.alpha, self.beta, self.tau = alpha, beta, tau
        self.teacher_first = teacher_first
        self.mode = _MODES[spatial_dims]
        self.heads = nn.ModuleList(_CONVOLUTIONS[spatial_dims](c, out_channels, 1) for c in channels)

    def forward(
        self, logits: Tensor, encoder: Sequence[Tensor], decoder: Sequence[Tensor], target: Tensor
    ) -> Tensor:
        """The loss of one batch, a scalar; arguments as in :mod:`segtrace.distill`."""
        loss = self.loss_of(logits, target)
        size = tuple(logits.shape[2:])
        for head, feature in zip(self.heads, decoder[self.first :], strict=True):
            small = head(feature)
            out = functional.interpolate(small, size=size, mode=self.mode, align_corners=False)
            if self.alpha:
                loss = loss + self.alpha * self.loss_of(out, target)
            if self.beta:
                loss = loss + self.beta * self.tau**2 * self._divergence(out, logits.detach())
        return loss

    def _divergence(self, auxiliary: Tensor, final: Tensor) -> Tensor:
        with torch.autocast(final.device.type, enabled=False):
            a, y = (softened(one, self.tau, background=self.background) for one in (auxiliary, final))
            return divergence(y, a) if self.teacher_first else divergence(a, y)


def build(
    *,
    encoder_channels: Sequence[int],
    encoder_scales: Sequence[Scale],
    decoder_channels: Sequence[int],
    decoder_scales: Sequence[Scale],
    out_channels: int,
    background: bool,
    spatial_dims: int,
    loss_of: Loss,
    alpha: float = 0.5,
    beta: float = 0.3,
    tau: float = 3.0,
    teacher_first: bool = False,
    bottleneck: bool = False,
) -> nn.Module:
    """EMIS's self-distillation; ``tau`` is T, and the others are as the module's documentation says.

    Raises :class:`SegtraceError` where the network has no decoder level to put a head on, or without any term.
    """
    first = 0 if bottleneck else 1
    channels = list(decoder_channels[first:])
    if not channels:
        raise SegtraceError(
            f"emis: the network has {len(decoder_channels)} decoder features, and none between bottleneck and output"
        )
    if not tau > 0:
        raise SegtraceError(f"emis: tau {tau} must be above 0")
    if not (alpha or beta):
        raise SegtraceError("emis: alpha and beta are both 0: its heads would be trained by nothing")
    return SelfDistillation(
        channels=channels,
        first=first,
        out_channels=out_channels,
        background=background,
        spatial_dims=spatial_dims,
        loss_of=loss_of,
        alpha=alpha,
        beta=beta,
        tau=tau,
        teacher_first=teacher_first,
    )
