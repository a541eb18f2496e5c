"""Logits without a background's, their labels, and both as float64 arrays."""

import numpy as np
import torch


def sample(shape=(2, 3, 5, 6, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * 3
    target = torch.randint(0, shape[1] + 1, (shape[0], *shape[2:]), generator=generator, dtype=torch.uint8)
    return logits, target


def arrays(logits, target):
    """Probabilities and masks (N, K, …), float64."""
    z = logits.double().numpy()
    g = np.stack([target.numpy() == k + 1 for k in range(z.shape[1])], axis=1).astype(float)
    return 1 / (1 + np.exp(-z)), g
