"""Counter-based numbers: functions of key and place, spread as they should be."""

import numpy as np
import pytest
import torch
from scipy import stats

from segtrace.train.randomness import key_of, normals, torch_seed, uniforms


def test_a_row_depends_on_the_key_and_its_number_alone():
    assert np.array_equal(uniforms(3, 8, key=5), uniforms(9, 8, key=5)[:3])
    assert not np.array_equal(uniforms(3, 8, key=5), uniforms(3, 8, key=6))


def test_normals_have_the_normal_distribution_and_no_memory():
    values = normals([200_001], key=key_of("x"))
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    for lag in (1, 2, 100_000):
        apart = torch.corrcoef(torch.stack([values[:-lag], values[lag:]]))[0, 1]
        assert abs(float(apart)) < 0.015
    assert torch.isfinite(values).all()


def test_normals_are_functions_of_key_and_place():
    one = normals([4, 5, 7], key=1)
    assert torch.equal(one, normals([4, 5, 7], key=1))
    assert torch.equal(one.flatten(), normals([140], key=1))
    assert not torch.equal(one, normals([4, 5, 7], key=2))
    neighbours = torch.stack([normals([50_000], key=key) for key in (7, 8)])
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.02


def test_normals_are_pinned():
    assert normals([4], key=3).tolist() == pytest.approx(PINNED, abs=1e-6)


def test_seeds_fit_torch():
    assert 0 <= torch_seed("network", 0) < 2**63


PINNED = [2.0847983, -0.8434014, 0.0799754, -0.034428]
