"""Deep supervision: every decoder level is trained by the labels through a head of its own.

Lee et al., Deeply-supervised nets, AISTATS 2015, in the form of Banerjee et al. (Volumetric medical image segmentation
through dual self-distillation in U-shaped networks, 2025, Eq. 3):

    L = loss(Y, G) + η Σ_i loss(D_i, G)

which is dual self-distillation (:mod:`segtrace.distill.dsd`) with α₁ = α₂ = 0, the paper's "DS".
"""

from collections.abc import Sequence

from torch import nn

from segtrace.distill import dsd


def build(
    *,
    encoder_channels: Sequence[int],
    encoder_scales: Sequence[dsd.Scale],
    decoder_channels: Sequence[int],
    decoder_scales: Sequence[dsd.Scale],
    out_channels: int,
    background: bool,
    spatial_dims: int,
    loss_of: dsd.Loss,
    eta: float = 1.0,
) -> nn.Module:
    """Deep supervision; ``eta`` weighs the decoders' losses."""
    return dsd.build(
        encoder_channels=encoder_channels,
        encoder_scales=encoder_scales,
        decoder_channels=decoder_channels,
        decoder_scales=decoder_scales,
        out_channels=out_channels,
        background=background,
        spatial_dims=spatial_dims,
        loss_of=loss_of,
        eta=eta,
        alpha_encoder=0.0,
        alpha_decoder=0.0,
    )
