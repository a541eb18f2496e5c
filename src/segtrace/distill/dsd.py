"""Dual self-distillation: every decoder learns from the labels, and shallower layers from the deepest ones.

Paper: Banerjee et al., Volumetric medical image segmentation through dual self-distillation in U-shaped
networks, 2025, Eqs. 2 to 5. Followed, where paper and published code differ, by default the code (measured; every
difference is an option):

    L = loss(Y, G) + η Σ_i loss(D_i, G) + τ² α₁ Σ_{i<Z} KL(E_Z ‖ E_i) + τ² α₂ Σ_{i>1} KL(D_1 ‖ D_i)

* E_1 … E_Z are the heads' logits on the encoder's features from shallow to deep, D_1 … D_Z those on the decoder's from
  the highest resolution to the bottom (the bottleneck is D_Z). Teachers are E_Z and D_1.
* KL is over probabilities softened by τ, the sum over classes, the mean over voxels and batch, background included.
* ``tau_squared``: the factor τ² is in the code, not in the paper.
* ``detach``: whether gradients stop at the teacher; in the code they do not, the paper is silent.
* ``teacher``: "deepest"; "mean" (the mean of a side's softened probabilities teaches all of them) and "reversed"
  (E_1 teaches the deeper encoders, D_Z the other decoders) are the paper's Table 6.
* ``share_heads``: encoder and decoder taps of equal scale and width share a head, as in the code for DynUNet and
  Swin UNETR; the other backbones have a head a tap.
* The encoders' heads get no labels, in the paper and in the code.
* ``feature_weight``: the variant of section 3.7 that distils features too, which the paper found to change nothing: taps
  but the shallowest encoder and the bottom are averaged over space and projected to vectors of 128, and the mean squared
  difference of each student's to its teacher's is added (code: weight 1e-4; projections of equal scale shared).

With α₁ = α₂ = 0 this is deep supervision; with α₁ = 0 the paper's SDD, with α₂ = 0 its SDE.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.background import in_front
from segtrace.distill._heads import Head
from segtrace.errors import SegtraceError

TEACHERS = ("deepest", "mean", "reversed")
#: Length of the vectors that features are projected to.
FEATURES = 128
Loss = Callable[[Tensor, Tensor], Tensor]
#: A power of 2, or one for each axis.
Scale = int | tuple[int, ...]


def softened(logits: Tensor, tau: float, *, background: bool = True) -> Tensor:
    """Log-probabilities (N, K, V) of logits (N, K, …) divided by the temperature ``tau`` (Eq. 2), in float32 or more.

    Where the logits lack the ``background``, it is put in front: then (N, K + 1, V).
    """
    wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    if not background:
        wide = in_front(wide)
    return torch.log_softmax(wide.flatten(2) / tau, dim=1)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher ‖ student) of log-probabilities (N, K, V): summed over classes, mean over batch and voxels (Eq. 4)."""
    return (teacher.exp() * (teacher - student)).sum(1).mean()


class DualSelfDistillation(nn.Module):
    """The objective with its heads; see the module's documentation."""

    def __init__(
        self,
        *,
        encoder: Sequence[tuple[int, Scale]],
        decoder: Sequence[tuple[int, Scale]],
        out_channels: int,
        background: bool,
        spatial_dims: int,
        loss_of: Loss,
        eta: float,
        alpha_encoder: float,
        alpha_decoder: float,
        tau: float,
        tau_squared: bool,
        teacher: str,
        detach: bool,
        share_heads: bool,
        feature_weight: float,
    ) -> None:
        super().__init__()
        self.loss_of, self.eta, self.background = loss_of, eta, background
        self.alpha_encoder, self.alpha_decoder = alpha_encoder, alpha_decoder
        self.tau, self.factor = tau, tau**2 if tau_squared else 1.0
        self.teacher, self.detach = teacher, detach
        made: dict[tuple[int, Scale], Head] = {}

        def head(channels: int, scale: Scale) -> Head:
            key = (channels, scale)
            if not share_heads or key not in made:
                made[key] = Head(channels, out_channels, scale=scale, spatial_dims=spatial_dims)
            return made[key]

        # a head without a term in the loss would be trained by nothing
        self.encoder_heads = nn.ModuleList(head(c, s) for c, s in encoder if alpha_encoder)
        self.decoder_heads = nn.ModuleList(head(c, s) for c, s in decoder if eta or alpha_decoder)
        self.feature_weight = feature_weight
        projections: dict[tuple[int, Scale], nn.Linear] = {}

        def projection(channels: int, scale: Scale) -> nn.Linear:
            return projections.setdefault((channels, scale), nn.Linear(channels, FEATURES))

        chosen = (encoder[1:], decoder[1:]) if feature_weight else ((), ())
        self.encoder_projections = nn.ModuleList(projection(c, s) for c, s in chosen[0])
        self.decoder_projections = nn.ModuleList(projection(c, s) for c, s in chosen[1])

    def forward(
        self, logits: Tensor, encoder: Sequence[Tensor], decoder: Sequence[Tensor], target: Tensor
    ) -> Tensor:
        """The loss of one batch, a scalar; arguments as in :mod:`segtrace.distill`."""
        loss = self.loss_of(logits, target)
        # shallow to deep for encoders; D_1 is the decoder's last, so turned round
        encoders = [head(f) for head, f in zip(self.encoder_heads, encoder)]  # noqa: B905  none without alpha
        decoders = [head(f) for head, f in zip(self.decoder_heads, decoder)][::-1]  # noqa: B905
        if self.eta:
            for out in decoders:
                loss = loss + self.eta * self.loss_of(out, target)
        with torch.autocast(logits.device.type, enabled=False):
            if self.alpha_encoder:
                loss = loss + self.factor * self.alpha_encoder * self._distilled(encoders[::-1])
            if self.alpha_decoder:
                loss = loss + self.factor * self.alpha_decoder * self._distilled(decoders)
        if self.feature_weight:
            for projections, features in (
                (self.encoder_projections, encoder[1:]),
                (self.decoder_projections, decoder[1:]),
            ):
                loss = loss + self.feature_weight * _feature_distance(projections, features)
        return loss

    def _distilled(self, outputs: Sequence[Tensor]) -> Tensor:
        """The sum of divergences of one side; ``outputs`` begin with its deepest layer in the paper's sense."""
        found = [softened(out, self.tau, background=self.background) for out in outputs]
        students = found
        if self.teacher == "deepest":
            taught, students = found[0], found[1:]
        elif self.teacher == "reversed":
            taught, students = found[-1], found[:-1]
        else:
            taught = torch.stack([one.exp() for one in found]).mean(0).log()
        if self.detach:
            taught = taught.detach()
        return torch.stack([divergence(taught, student) for student in students]).sum()


def _feature_distance(projections: nn.ModuleList, features: Sequence[Tensor]) -> Tensor:
    """The sum of mean squared differences between each feature's vector and that of the last, its teacher."""
    vectors = [
        project(feature.flatten(2).mean(2)).float()
        for project, feature in zip(projections, features, strict=True)
    ]
    return torch.stack([functional.mse_loss(vector, vectors[-1]) for vector in vectors[:-1]]).sum()


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
    eta: float = 1.0,
    alpha_encoder: float = 1.0,
    alpha_decoder: float = 1.0,
    tau: float = 3.0,
    tau_squared: bool = True,
    teacher: str = "deepest",
    detach: bool = False,
    share_heads: bool = False,
    feature_weight: float = 0.0,
) -> nn.Module:
    """Dual self-distillation; the defaults are the paper's (η = α₁ = α₂ = 1, τ = 3)."""
    if teacher not in TEACHERS:
        raise SegtraceError(f"dsd: no teacher {teacher!r}; it has {', '.join(TEACHERS)}")
    if not tau > 0:
        raise SegtraceError(f"dsd: tau {tau} must be above 0")
    return DualSelfDistillation(
        encoder=list(zip(encoder_channels, encoder_scales, strict=True)),
        decoder=list(zip(decoder_channels, decoder_scales, strict=True)),
        out_channels=out_channels,
        background=background,
        spatial_dims=spatial_dims,
        loss_of=loss_of,
        eta=eta,
        alpha_encoder=alpha_encoder,
        alpha_decoder=alpha_decoder,
        tau=tau,
        tau_squared=tau_squared,
        teacher=teacher,
        detach=detach,
        share_heads=share_heads,
        feature_weight=feature_weight,
    )
