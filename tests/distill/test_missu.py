"""The stand-in for MISSU has the published size, and its divergence is the formula's."""

import numpy as np
import pytest
import torch

from segtrace import distill, losses, networks
from segtrace.distill import missu

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("options", "classes", "expected"),
    [
        ({"feature_size": 32}, 8, 114_352_968),  # the paper: 114.353 M
        ({"size": (32, 32, 32), "feature_size": 16}, 3, 97_094_099),  # 97.094 M
    ],
)
def test_unetr_with_the_stand_in_has_the_published_size(options, classes, expected):
    with torch.device("meta"):
        network = networks.create("unetr", in_channels=1, out_channels=classes, **options)
        blocks = distill.attach(
            "missu", network, out_channels=classes, spatial_dims=3, loss_of=losses.create("dice_ce")
        )
    assert sum(p.numel() for module in (network, blocks) for p in module.parameters()) == expected


def test_the_divergence_is_that_of_probabilities_along_channels():
    draw = np.random.default_rng(0)
    teacher, student = draw.normal(size=(2, 2, 4, 3, 5))
    t, s = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (teacher, student))
    expected = (t * np.log(t / s)).sum(1).mean()
    found = missu.channel_divergence(torch.tensor(teacher), torch.tensor(student))
    assert float(found) == pytest.approx(expected, abs=1e-12)
