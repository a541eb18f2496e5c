"""What every registered network is; its contract stands in :mod:`segtrace.networks`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from segtrace.errors import SegtraceError


class Network(nn.Module, ABC):
    """A network that gives its features: logits alone are those of :meth:`forward_features`."""

    encoder_channels: Sequence[int]
    encoder_scales: Sequence[int | tuple[int, ...]]
    decoder_channels: Sequence[int]
    decoder_scales: Sequence[int | tuple[int, ...]]
    divisor: int
    fixed_size: Sequence[int] | None = None
    background: bool = True
    main_weight: float = 1.0
    auxiliary_weights: Sequence[float] = ()

    @abstractmethod
    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features from shallow to deep, decoder features from the bottom up."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K, D, H, W) or (N, K, H, W) of the input's size."""
        return self.forward_features(x)[0]


def decoded(
    bottom: Tensor, encoder: Sequence[Tensor], blocks: Sequence[Callable[[Tensor, Tensor], Tensor]]
) -> list[Tensor]:
    """The decoder's features from ``bottom`` on: each block takes the one before and the skip of its scale.

    ``encoder`` holds the skips from shallow to deep, ``blocks`` are as many, the deepest first.
    """
    found = [bottom]
    for block, skip in zip(blocks, reversed(encoder), strict=True):
        found.append(block(found[-1], skip))
    return found


def check_widths(name: str, widths: Sequence[int], *, levels: str = "5 levels") -> None:
    """Refuse the option ``widths`` of a network of five numbers, which are those of its ``levels``, unless it has five."""
    if len(widths) != 5:
        raise SegtraceError(f"{name}: widths {list(widths)} are {len(widths)} numbers; it has {levels}")
