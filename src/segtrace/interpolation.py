"""Interpolation along the axes of an array, one axis after the other.

Where new positions form a grid along the old axes, interpolation separates: a few weighted rows an axis,
instead of the product of all axes' neighbours for every voxel. Sums have a fixed order and no call goes to
a library that chooses its code by the processor, so equal input gives equal bytes everywhere.
"""

from collections.abc import Sequence

import numpy as np

#: Rows are worked on in blocks of about so many columns: a few rows of them stay in the cache.
COLUMNS = 2048
#: Positions are rounded to so many decimals of a voxel, so that half-way is half-way.
DECIMALS = 9


def nearest(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """The values at the voxels nearest to ``positions``; of two equally near, that of the higher index.

    ``positions``, in voxels, are one array for each of the last axes of ``values``: (z, y, x) of
    (..., D, H, W), or (y, x) of (..., H, W). Beyond an end, the end's value is taken.
    """
    for axis, where in zip(range(-len(positions), 0), positions, strict=True):
        index = np.floor(np.round(where, DECIMALS) + 0.5).astype(np.int64)
        values = np.take(values, np.clip(index, 0, values.shape[axis] - 1), axis=axis)
    return values


def linear(
    values: np.ndarray, positions: Sequence[np.ndarray], *, kind: type[np.floating] = np.float64
) -> np.ndarray:
    """Linear interpolation at ``positions``, as in :func:`nearest`, in numbers of ``kind``."""
    for axis, where in zip(range(-len(positions), 0), positions, strict=True):
        last = values.shape[axis] - 1
        place = np.clip(np.round(where, DECIMALS), 0, last)
        low = np.minimum(np.floor(place), max(last - 1, 0))
        taps = np.stack([low, np.minimum(low + 1, last)], 1).astype(np.int64)
        weights = np.stack([1 - (place - low), place - low], 1)
        values = _along(values, axis, taps, weights, spline=False, kind=np.dtype(kind))
    return values


def cubic(values: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Cubic B-spline interpolation at ``positions``, as in :func:`nearest`; float64.

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
        ) / 6  # fmt: skip
        taps = _mirrored(low[:, None].astype(np.int64) + np.arange(-1, 3), last)
        values = _along(values, axis, taps, weights, spline=True, kind=np.dtype(np.float64))
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
    kind: np.dtype,
) -> np.ndarray:
    """New rows along ``axis``: the sums of the rows ``taps`` (M, K) times ``weights`` (M, K)."""
    moved = np.moveaxis(values, axis, 0)
    result = np.empty((len(taps), *moved.shape[1:]), kind)
    step = max(1, COLUMNS // max(1, moved[0, 0].size))
    plan = [
        [(int(row), kind.type(weight)) for row, weight in zip(rows, by, strict=True) if weight != 0]
        for rows, by in zip(taps, weights, strict=True)
    ]
    for start in range(0, moved.shape[1], step):
        block = np.array(moved[:, start : start + step], kind, order="C")
        if spline:
            _to_coefficients(block)
        part = np.empty(block.shape[1:], kind)
        for row, terms in zip(result[:, start : start + step], plan, strict=True):
            (first, weight), *others = terms
            np.multiply(block[first], weight, out=row)
            for number, weight in others:
                np.multiply(block[number], weight, out=part)
                np.add(row, part, out=row)
    return np.moveaxis(result, 0, axis)


def _to_coefficients(rows: np.ndarray) -> None:
    """B-spline coefficients in place of samples along the first axis.

    Coefficients c of samples f solve c[i-1] + 4 c[i] + c[i+1] = 6 f[i] with c[-1] = c[1] and c[n] = c[n-2]:
    elimination downwards, substitution upwards.
    """
    last = len(rows) - 1
    if last == 0:
        return
    part = np.empty(rows.shape[1:], rows.dtype)
    rows *= 6
    rows[0] *= 0.25
    factors = [0.5]  # of each row, that of the coefficient below it
    for i in range(1, last + 1):
        if i == last:
            rows[i] -= rows[i - 1]
        factors.append(1 / (4 - factors[-1] * (2 if i == last else 1)))
        np.subtract(rows[i], rows[i - 1], out=rows[i])
        np.multiply(rows[i], factors[i], out=rows[i])
    for i in range(last - 1, -1, -1):
        np.multiply(rows[i + 1], factors[i], out=part)
        np.subtract(rows[i], part, out=rows[i])
