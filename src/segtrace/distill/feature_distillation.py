"""Feature distillation: the decoder's last block teaches all others, and each block's channels teach each other.

Ke et al., An Effective Algorithm for Skin Disease Segmentation Combining inter-channel Features and Spatial Feature
Enhancement, section 3.4, Eqs. 8 to 11, after SelfReg-UNet (Zhu et al., arXiv:2406.14896), which has both terms and is
not cited there:

    L = loss(Y, G) + λ₁ · mean over blocks of |F_m - F_1|²  +  λ₂ · mean over blocks of |first half - second half of F_m|²

* Cross-feature distillation, ``cross_weight`` λ₁: a block's features F_m and those of the decoder's last block, D_1, both
  averaged to the smaller size. They differ in channels, so that as many as the narrower has are drawn of each.
* Internal feature distillation, ``internal_weight`` λ₂: a block's channels in two halves.

What paper and SelfReg-UNet's published program leave open or say differently is an option:

* ``channels``: ``unpaired`` draws the channels of student and teacher apart, anew each step (program), so that chance
  pairs are compared; ``paired`` compares channel k with channel k.
* ``norm``: ``mean`` is the mean square (program); ``sum`` the squared norm that the paper prints, some thousand times
  as large, for which λ = 0.015 is not meant.
* ``sort``: by their score before they are halved (program); the paper has nothing of it.
* ``one_way``: gradients reach the second half alone, as "transfer from shallow features to deeper ones" reads; in the
  program they reach both.
* ``detach``: gradients stop at the teacher (program).
* ``teacher``: ``d1``, the features of the last decoder stage (paper), which then is no student; ``final``, the full-size
  features that the logits are made of (program), for networks that give blocks.
* ``taps``: ``blocks`` takes the first and the last block of each stage (program) where a network gives them
  (``forward_blocks``, :mod:`segtrace.networks`), else one feature a stage; ``stages`` always the latter.
* ``aggregate``: ``blocks``, the mean over all of them (paper); ``sides``, the program's: means over encoder and over decoder
  added up for the internal term, and both terms added up over first and last blocks.

It has no parameters. Its random numbers are functions of ``key`` alone, which the training sets anew before each step.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from segtrace.distill import _features
from segtrace.distill.dsd import Loss, Scale
from segtrace.errors import raise_all

#: What an option may be.
CHOICES = {
    "channels": ("unpaired", "paired"),
    "norm": tuple(_features.DISTANCES),
    "teacher": ("d1", "final"),
    "taps": ("blocks", "stages"),
    "aggregate": ("blocks", "sides"),
}
#: A stage's features, or those of its first and its last block.
Stage: TypeAlias = Tensor | Sequence[Tensor]


class FeatureDistillation(nn.Module):
    """The objective; see the module's documentation."""

    key: int
    """128 bits that decide the draws of the next call; the training's loop sets it."""

    def __init__(
        self,
        *,
        loss_of: Loss,
        cross_weight: float,
        internal_weight: float,
        teacher: str,
        detach: bool,
        paired: bool,
        norm: str,
        sort: bool,
        one_way: bool,
        sides: bool,
        wants_blocks: bool,
    ) -> None:
        super().__init__()
        self.key = 0
        self.wants_blocks = wants_blocks
        self.loss_of, self.distance = loss_of, _features.DISTANCES[norm]
        self.cross_weight, self.internal_weight = cross_weight, internal_weight
        self.teacher, self.detach = teacher, detach
        self.paired, self.sort, self.one_way, self.sides = paired, sort, one_way, sides

    def forward(
        self, logits: Tensor, encoder: Sequence[Stage], decoder: Sequence[Stage], target: Tensor
    ) -> Tensor:
        """The loss of one batch, a scalar; arguments as in :mod:`segtrace.distill`, or with each stage's blocks."""
        loss = self.loss_of(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            encoders, decoders, taught = self._taps(encoder, decoder)
            if self.cross_weight:
                loss = loss + self.cross_weight * self._cross(encoders + decoders, taught)
            if self.internal_weight:
                loss = loss + self.internal_weight * self._internal(encoders, decoders)
        return loss

    def _taps(
        self, encoder: Sequence[Stage], decoder: Sequence[Stage]
    ) -> tuple[list[list[Tensor]], list[list[Tensor]], Tensor]:
        """The students' stages in the encoder and in the decoder, and the teacher; all in float32 or more."""
        sides = [[_blocks(stage) for stage in side] for side in (encoder, decoder)]
        encoders, decoders = sides
        # of blocks, the decoder's last entry is what the logits are made of
        last = len(decoders) - 1
        if self.wants_blocks and self.teacher == "d1":
            last -= 1
        taught = decoders[last][-1]
        return encoders, decoders[:last], taught.detach() if self.detach else taught

    def _cross(self, students: Sequence[Sequence[Tensor]], taught: Tensor) -> Tensor:
        """Cross-feature distillation of all students."""
        blocks = [block for stage in students for block in stage]
        widths = [(block.shape[1], taught.shape[1]) for block in blocks]
        draws: list[tuple[Tensor, Tensor]] | list[None] = [None] * len(blocks)
        if not self.paired:
            draws = _features.drawn(widths, key=self.key, device=taught.device)
        terms = [
            _features.cross(block, taught, channels=chosen, distance=self.distance)
            for block, chosen in zip(blocks, draws, strict=True)
        ]
        # first and last blocks are two sums of the program, each a mean over stages
        sets = len(students[0]) if self.sides else 1
        return torch.stack(terms).mean() * sets

    def _internal(self, encoders: Sequence[Sequence[Tensor]], decoders: Sequence[Sequence[Tensor]]) -> Tensor:
        """Internal feature distillation of all students."""

        def mean_of(stages: Sequence[Sequence[Tensor]]) -> Tensor:
            terms = [
                _features.internal(block, sort=self.sort, one_way=self.one_way, distance=self.distance)
                for stage in stages
                for block in stage
            ]
            return torch.stack(terms).mean()

        if not self.sides:
            return mean_of([*encoders, *decoders])
        found = [mean_of(side) * len(side[0]) for side in (encoders, decoders) if side]
        return torch.stack(found).sum()


def _blocks(stage: Stage) -> list[Tensor]:
    """A stage's features as a list, in float32 or more."""
    given = [stage] if isinstance(stage, Tensor) else list(stage)
    return [x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in given]


def build(
    *,
    encoder_channels: Sequence[int],
    encoder_scales: Sequence[Scale],
    decoder_channels: Sequence[int],
    decoder_scales: Sequence[Scale],
    out_channels: int,
    background: bool,
    spatial_dims: int,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    gives_blocks: bool = False,
    cross_weight: float = 0.015,
    internal_weight: float = 0.015,
    teacher: str = "d1",
    detach: bool = True,
    channels: str = "unpaired",
    norm: str = "mean",
    sort: bool = True,
    one_way: bool = False,
    taps: str = "blocks",
    aggregate: str = "blocks",
) -> nn.Module:
    """Feature distillation; the weights are the paper's, the rest is as the module's documentation says.

    Raises :class:`segtrace.errors.SegtraceError` for values that an option does not take, for two weights of 0, for a
    network without a student, and for ``teacher: final`` where the network gives no blocks or ``taps`` leaves them.
    """
    given = {"channels": channels, "norm": norm, "teacher": teacher, "taps": taps, "aggregate": aggregate}
    wants_blocks = gives_blocks and taps == "blocks"
    problems = [
        f"no {key} {value!r}; it has {', '.join(CHOICES[key])}"
        for key, value in given.items()
        if value not in CHOICES[key]
    ]
    if not (cross_weight or internal_weight):
        problems.append("cross_weight and internal_weight are both 0: leave the framework out instead")
    if len(encoder_channels) + len(decoder_channels) < 2 or not decoder_channels:
        problems.append(
            f"the network has {len(encoder_channels)} encoder and {len(decoder_channels)} decoder features; "
            "it takes one decoder feature as teacher and one more as student"
        )
    if teacher == "final" and not wants_blocks:
        problems.append(
            "teacher final is for taps: blocks and networks with forward_blocks; take teacher: d1"
        )
    raise_all(problems, heading="feature_distillation: its options do not fit")
    return FeatureDistillation(
        loss_of=loss_of,
        cross_weight=cross_weight,
        internal_weight=internal_weight,
        teacher=teacher,
        detach=detach,
        paired=channels == "paired",
        norm=norm,
        sort=sort,
        one_way=one_way,
        sides=aggregate == "sides",
        wants_blocks=wants_blocks,
    )
