"""Interpolation along the axes of an array, one axis after the other.

Where new positions form a grid along the old axes, interpolation separates: a few weighted rows an axis,
instead of the product of all axes' neighbours for every voxel. Sums have a fixed order, in single precision as
the result, and no call goes to a library that chooses its code by the processor: equal input, equal bytes.
"""

import itertools
from collections.abc import Sequence

import numpy as np

#: Rows are worked on in blocks of about so many columns: a few rows of them stay in the cache.
COLUMNS = 4096
#: Positions are rounded to so many decimals of a voxel, so that half-way is half-way.
DECIMALS = 9
#: Shares of a vote that differ by less are equal: the sums of a tie differ in their last digits.
TIE = 1e-9


def nearest(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """The values at the voxels nearest to ``positions``; of two equally near, that of the higher index.

    ``positions``, in voxels, are one array for each of the last axes of ``values``: (z, y, x) of
    (..., D, H, W), or (y, x) of (..., H, W). Beyond an end, the end's value is taken.
    """
    for axis, where in zip(range(-len(positions), 0), positions, strict=True):
        index = np.floor(np.round(where, DECIMALS) + 0.5).astype(np.int64)
        values = np.take(values, np.clip(index, 0, values.shape[axis] - 1), axis=axis)
    return values


def vote(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """The value (uint8) with the largest linearly interpolated share at ``positions``; of equal ones, the lowest.

    ``values`` (D, H, W) or (H, W) and ``positions`` as in :func:`nearest`. Only where neighbours differ, shares
    are taken: the time hardly grows with the number of values.
    """
    taps, weights = zip(*map(_linear_taps, positions, values.shape), strict=True)
    sides = list(itertools.product((0, 1), repeat=values.ndim))
    corners = [
        _rows(values, [tap[:, side] for tap, side in zip(taps, upper, strict=True)]) for upper in sides
    ]
    winner = corners[0].copy()
    unequal = np.zeros(winner.shape, bool)
    for corner in corners[1:]:
        unequal |= corner != winner
    where = np.nonzero(unequal)
    found = np.stack([corner[where] for corner in corners])  # (2^S, M)
    shares = np.ones(found.shape)
    for share, upper in zip(shares, sides, strict=True):
        for place, by, side in zip(where, weights, upper, strict=True):
            share *= by[place, side]
    totals = np.stack([(shares * (found == value)).sum(0) for value in found])
    winner[where] = np.where(totals >= totals.max(0, initial=0) - TIE, found, 255).min(0)
    return winner


def _rows(values: np.ndarray, indices: Sequence[np.ndarray]) -> np.ndarray:
    """``values`` at ``indices`` along each axis."""
    for axis, index in enumerate(indices):
        values = np.take(values, index, axis=axis)
    return values


def _linear_taps(where: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The two neighbours (M, 2) of positions along an axis, and their weights (M, 2)."""
    place = np.clip(np.round(where, DECIMALS), 0, length - 1)
    low = np.minimum(np.floor(place), max(length - 2, 0))
    taps = np.stack([low, np.minimum(low + 1, length - 1)], 1).astype(np.int64)
    return taps, np.stack([1 - (place - low), place - low], 1)


def linear(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Linear interpolation at ``positions``, as in :func:`nearest`; float32."""
    for axis, where in zip(range(-len(positions), 0), positions, strict=True):
        taps, weights = _linear_taps(where, values.shape[axis])
        values = _along(values, axis, taps, weights, spline=False)
    return values


def cubic(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Cubic B-spline interpolation at ``positions``, as in :func:`nearest`; float32.

    Unser et al., B-spline signal processing, IEEE Transactions on Signal Processing 41 (1993): the spline
    passes through the voxels and is mirrored at the outer ones. From half a voxel beyond them on, their
    value is taken.
    """
    for axis, where in zip(range(-len(positions), 0), positions, strict=True):
        last = values.shape[axis] - 1
        place = np.round(where, DECIMALS)
        place = np.where(place < -0.5, 0, np.where(place > last + 0.5, last, place))
        low = np.floor(place)
        t = place - low
        weights = np.stack(
            [(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3], 1
        )  # six times the spline's, for coefficients of a sixth
        taps = _mirrored(low[:, None].astype(np.int64) + np.arange(-1, 3), last)
        values = _along(values, axis, taps, weights, spline=True)
    return values


def _mirrored(index: np.ndarray, last: int) -> np.ndarray:
    """Indices reflected at 0 and at ``last``."""
    if last == 0:
        return np.zeros_like(index)
    folded = np.mod(index, 2 * last)
    return np.minimum(folded, 2 * last - folded)


def _along(
    values: np.ndarray,
    axis: int,
    taps: np.ndarray,
    weights: np.ndarray,
    *,
    spline: bool,
) -> np.ndarray:
    """New rows along ``axis``: the sums of the rows ``taps`` (M, K) times ``weights`` (M, K)."""
    axis %= values.ndim
    order = [axis, *sorted(set(range(values.ndim)) - {axis}, key=lambda n: (-values.strides[n], n))]
    moved = values.transpose(order)  # the other axes as they lie in memory, whose rows are copied fastest
    result = np.empty((len(taps), *moved.shape[1:]), np.float32)
    step = max(1, COLUMNS // max(1, moved[0, 0].size))
    plan = [
        [(row, weight) for row, weight in zip(rows, by, strict=True) if weight]
        for rows, by in zip(taps.tolist(), weights.tolist(), strict=True)
    ]
    for start in range(0, moved.shape[1], step):
        block = np.array(moved[:, start : start + step], np.float32, order="C")
        if spline:
            _to_coefficients(block)
        part = np.empty(block.shape[1:], np.float32)
        rows = list(block)
        for row, ((first, weight), *others) in zip(result[:, start : start + step], plan, strict=True):
            np.multiply(rows[first], weight, row)
            for number, weight in others:
                np.multiply(rows[number], weight, part)
                np.add(row, part, row)
    return result.transpose(np.argsort(order))


def _to_coefficients(samples: np.ndarray) -> None:
    """A sixth of the B-spline coefficients in place of ``samples`` along the first axis.

    They, c, solve c[i-1] + 4 c[i] + c[i+1] = f[i] for samples f, with c[-1] = c[1] and c[n] = c[n-2]:
    elimination downwards, substitution upwards.
    """
    last = len(samples) - 1
    if last == 0:
        samples /= 6
        return
    samples[0] *= 0.25
    rows, part = list(samples), np.empty(samples.shape[1:], samples.dtype)
    factors = [0.5]  # of each row, that of the coefficient below it
    for i in range(1, last + 1):
        if i == last:
            rows[i] -= rows[i - 1]
        factors.append(1 / (4 - factors[-1] * (2 if i == last else 1)))
        np.subtract(rows[i], rows[i - 1], rows[i])
        np.multiply(rows[i], factors[i], rows[i])
    for i in range(last - 1, -1, -1):
        np.multiply(rows[i + 1], factors[i], part)
        np.subtract(rows[i], part, rows[i])
