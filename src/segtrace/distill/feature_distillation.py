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
* ``aggregate``: ``blocks``, the mean over all of them (paper); ``sides``, for the internal term the mean over the encoder's and
  the mean over the decoder's, bottom included, added up (program, which has each of its terms for first and for last
  blocks: twice these, and counts the bottom as the encoder's).

The blocks F_m are what the network's ``forward_features`` gives, and D_1 is the last of them: one feature a stage, unless
an option of the network says otherwise. Paper and program take a stage's first and last block: ``features: blocks`` of
VM-UNet and its relatives, whose stages have two. With their ``features: final`` the features of full size that the
logits are made of are the teacher, and the last stage is a student as well (program).

It has no parameters. Its random numbers are functions of ``key`` alone, which the training sets anew before each step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segtrace.distill import _features
from segtrace.distill.dsd import Loss, Scale
from segtrace.errors import raise_all

#: What an option may be.
CHOICES = {
    "channels": ("unpaired", "paired"),
    "norm": tuple(_features.DISTANCES),
    "aggregate": ("blocks", "sides"),
}


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
        detach: bool,
        paired: bool,
        norm: str,
        sort: bool,
        one_way: bool,
        sides: bool,
    ) -> None:
        super().__init__()
        self.key = 0
        self.loss_of, self.distance = loss_of, _features.DISTANCES[norm]
        self.cross_weight, self.internal_weight = cross_weight, internal_weight
        self.detach = detach
        self.paired, self.sort, self.one_way, self.sides = paired, sort, one_way, sides

    def forward(
        self, logits: Tensor, encoder: Sequence[Tensor], decoder: Sequence[Tensor], target: Tensor
    ) -> Tensor:
        """The loss of one batch, a scalar; arguments as in :mod:`segtrace.distill`."""
        loss = self.loss_of(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            sides = [[_wide(x) for x in side] for side in (encoder, decoder[:-1]) if side]
            if self.cross_weight:
                taught = _wide(decoder[-1])
                students = [x for side in sides for x in side]
                loss = loss + self.cross_weight * self._cross(
                    students, taught.detach() if self.detach else taught
                )
            if self.internal_weight:
                loss = loss + self.internal_weight * self._internal(sides)
        return loss

    def _cross(self, students: Sequence[Tensor], taught: Tensor) -> Tensor:
        """The mean distance of the students to the teacher."""
        draws: list[tuple[Tensor, Tensor]] | list[None] = [None] * len(students)
        if not self.paired:
            widths = [(x.shape[1], taught.shape[1]) for x in students]
            draws = _features.drawn(widths, key=self.key, device=taught.device)
        terms = [
            _features.cross(x, taught, channels=chosen, distance=self.distance)
            for x, chosen in zip(students, draws, strict=True)
        ]
        return torch.stack(terms).mean()

    def _internal(self, sides: Sequence[Sequence[Tensor]]) -> Tensor:
        """The mean distance between halves, or the sum of the sides' means."""
        terms = [
            torch.stack(
                [
                    _features.internal(x, sort=self.sort, one_way=self.one_way, distance=self.distance)
                    for x in side
                ]
            )
            for side in sides
        ]
        return torch.stack([side.mean() for side in terms]).sum() if self.sides else torch.cat(terms).mean()


def _wide(features: Tensor) -> Tensor:
    """Features in float32 or more."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features


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
    cross_weight: float = 0.015,
    internal_weight: float = 0.015,
    detach: bool = True,
    channels: str = "unpaired",
    norm: str = "mean",
    sort: bool = True,
    one_way: bool = False,
    aggregate: str = "blocks",
) -> nn.Module:
    """Feature distillation; the weights are the paper's, the rest is as the module's documentation says.

    Raises :class:`segtrace.errors.SegtraceError` for values that an option does not take, for two weights of 0, and for a
    network without a student.
    """
    given = {"channels": channels, "norm": norm, "aggregate": aggregate}
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
    raise_all(problems, heading="feature_distillation: its options do not fit")
    return FeatureDistillation(
        loss_of=loss_of,
        cross_weight=cross_weight,
        internal_weight=internal_weight,
        detach=detach,
        paired=channels == "paired",
        norm=norm,
        sort=sort,
        one_way=one_way,
        sides=aggregate == "sides",
    )
