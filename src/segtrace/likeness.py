"""How alike two thumbnails are in their detail, wherever one is a slightly moved or cropped part of the other.

Images of one kind (dermoscopy, chest radiographs) are alike in the large: what tells a copy is the detail. So
thumbnails are band-passed (a difference of two Gaussians) and divided by their local contrast, without which a sharp
outline (a field of view, a body) would outweigh all else. The normalised cross-correlation over the part that both
show is taken for all small shifts, with one of the two cut at its borders by a few per cent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from segtrace.fingerprints import SIDE, transformed

#: Parts of height and width that one of two images may be cut to.
CUTS = ((1.0, 1.0), (0.95, 0.95), (0.9, 0.9), (0.95, 1.0), (1.0, 0.95))
#: The comparisons made: cut of the first image and of the second, one of them uncut.
MATCHES = tuple((cut, 0) for cut in range(len(CUTS))) + tuple((0, cut) for cut in range(1, len(CUTS)))
#: Standard deviations of the two Gaussians, in pixels of a thumbnail: of the quick look, and of the detail.
COARSE, FINE = (1.5, 4.0), (1.0, 2.0)
#: Largest shift between two images, as a part of their side.
SHIFT = 1 / 8
#: Standard deviation, in pixels, of the surroundings over which contrast is local.
SURROUNDINGS = 2.5
#: Variance of a band, in greys squared, that counts as little contrast: some times what rounding to whole greys and
#: lossy compression leave.
LITTLE = 0.5
#: Variance that counts as nothing, of a band and of a detail: a correlation with a constant image is 0.
NOTHING, NO_DETAIL = 0.02, 0.001
#: Pairs compared at a time: bounds memory to some hundred MB.
BLOCK = 512


@dataclass(frozen=True)
class Match:
    """The best comparison of each pair: its correlation, its number in ``MATCHES``, and the shift of the second
    image onto the first (rows, columns) in pixels of a thumbnail; arrays (N,), (N,) and (N, 2).
    """

    correlation: np.ndarray
    match: np.ndarray
    shift: np.ndarray


def cut_out(pictures: np.ndarray, cut: tuple[float, float]) -> np.ndarray:
    """The central part of pictures (N, SIDE, SIDE), enlarged to the same size (linear), float32."""
    result = pictures.astype(np.float32)
    for axis, part in enumerate(cut, 1):
        if part == 1.0:
            continue
        place = (np.arange(SIDE) + 0.5 - SIDE / 2) * part + SIDE / 2 - 0.5
        low = np.floor(place).astype(int)
        weight = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        result = np.take(result, low, axis) * (1 - weight) + np.take(result, low + 1, axis) * weight
    return result


def banded(pictures: np.ndarray, sigmas: tuple[float, float]) -> np.ndarray:
    """Pictures (N, H, W) between two scales: the difference of two Gaussians, float32."""
    narrow, wide = (ndimage.gaussian_filter(pictures, (0, s, s), output=np.float32) for s in sigmas)
    return np.asarray(narrow - wide)


def detailed(pictures: np.ndarray) -> np.ndarray:
    """The fine band of pictures (N, H, W), everywhere of about the same contrast, float32."""
    band = banded(pictures, FINE)
    sigma = (0, SURROUNDINGS, SURROUNDINGS)
    return np.asarray(band / np.sqrt(ndimage.gaussian_filter(band * band, sigma) + LITTLE))


def halved(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W) at half the size: means of 2 x 2 pixels."""
    return np.asarray(pictures.reshape(len(pictures), SIDE // 2, 2, SIDE // 2, 2).mean((2, 4)))


def quick_looks(greys: np.ndarray) -> np.ndarray:
    """What :func:`quick` compares: the first three cuts, (3, N, SIDE / 2, SIDE / 2) float16, 6 kB an image.

    ``greys`` are thumbnails. Each picture fades to its borders and has the norm 1, or less where it shows nothing.
    """
    looks = np.empty((3, len(greys), SIDE // 2, SIDE // 2), np.float16)
    fade = np.sqrt(np.hanning(SIDE // 2 + 2)[1:-1])
    for number in range(len(looks)):
        for part in blocks(len(greys)):
            shown = halved(banded(cut_out(greys[part], CUTS[number]), COARSE)) * np.outer(fade, fade)
            power = (shown**2).sum(axis=(1, 2), keepdims=True) + NOTHING * (SIDE // 2) ** 2
            looks[number, part] = shown / np.sqrt(power)
    return looks


def quick(
    looks: np.ndarray, first: np.ndarray, second: np.ndarray, transform: int, *, least: float
) -> np.ndarray:
    """A first correlation (N,) of the images numbered ``first``, placed by ``transform``, with those of ``second``.

    Cuts are tried only where the correlation of the whole images is at least ``least``.
    """
    best = np.full(len(first), -1.0)
    for part in blocks(len(first)):
        value = best[part]  # a view
        for one, other in ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2)):
            likely = np.arange(len(value)) if one == other else np.flatnonzero(value >= least)
            a = _spectra(transformed(looks[one], transform), first[part][likely])
            b = _spectra(looks[other], second[part][likely])
            product = fft.irfft2(a * np.conj(b), (SIDE // 2, SIDE // 2))
            lags = _lags(SIDE // 2)
            value[likely] = np.maximum(
                value[likely], product[:, lags[:, None], lags].max(axis=(1, 2), initial=-1)
            )
    return best


def _spectra(pictures: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Fourier transforms of the pictures at ``places``; that of each picture is computed once."""
    wanted, back = np.unique(places, return_inverse=True)
    return np.asarray(fft.rfft2(pictures[wanted].astype(np.float32)))[back]


def compare(greys: np.ndarray, first: np.ndarray, second: np.ndarray, transform: int) -> Match:
    """The detail of the thumbnails numbered ``first``, placed by ``transform``, against those numbered ``second``."""
    found: list[Match] = []
    for part in blocks(len(first)):
        ones = _details(transformed(greys, transform), first[part])
        others = _details(greys, second[part])
        peaks = [_peak(correlations(ones[one], others[other])) for one, other in MATCHES]
        values = np.stack([value for value, _ in peaks])
        best = values.argmax(axis=0)
        shifts = np.stack([shift for _, shift in peaks])
        every = np.arange(len(best))
        found.append(Match(values[best, every], best, shifts[best, every]))
    if not found:
        return Match(np.zeros(0), np.zeros(0, int), np.zeros((0, 2), int))
    return Match(*(np.concatenate([getattr(m, name) for m in found]) for name in Match.__dataclass_fields__))


#: Pictures ready to be correlated: their Fourier transforms, and their energies in all overlaps.
Detail = tuple[np.ndarray, np.ndarray]


def _details(greys: np.ndarray, places: np.ndarray) -> list[Detail]:
    """For each cut, the detail of the thumbnails at ``places``; each image is filtered once."""
    wanted, back = np.unique(places, return_inverse=True)
    found = [detail(detailed(cut_out(greys[wanted], cut))) for cut in CUTS]
    return [(spectra[back], energies[back]) for spectra, energies in found]


def _lags(side: int) -> np.ndarray:
    """All shifts tried along an axis, in pixels."""
    return np.arange(-int(side * SHIFT), int(side * SHIFT) + 1)


def detail(pictures: np.ndarray) -> Detail:
    """What :func:`detailed` gives, (N, SIDE, SIDE), ready for :func:`correlations`. Its mean is 0 and not subtracted."""
    lags = _lags(SIDE)
    begin, end = np.maximum(lags, 0), SIDE + np.minimum(lags, 0)
    sums = np.pad((pictures.astype(np.float64) ** 2).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    rows = sums[:, end] - sums[:, begin]
    area = np.multiply.outer(end - begin, end - begin)
    energies = rows[:, :, end] - rows[:, :, begin] + NO_DETAIL * area
    padded = SIDE + len(lags) // 2  # no shift wraps round
    return np.asarray(fft.rfft2(pictures, (padded, padded))), energies


def correlations(one: Detail, other: Detail) -> np.ndarray:
    """Normalised cross-correlation of pictures with others for all small shifts, (N, 2 L + 1, 2 L + 1).

    Entry (L + y, L + x) is that of ``one[v + y, u + x]`` with ``other[v, u]`` over the part that both show.
    """
    lags = _lags(SIDE)
    padded = one[0].shape[1]
    product = fft.irfft2(one[0] * np.conj(other[0]), (padded, padded))[:, lags[:, None], lags]
    return np.asarray(product / np.sqrt(one[1] * other[1][:, ::-1, ::-1]))


def _peak(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest correlation (N,) and its shift (N, 2); the top of a parabola along each axis, for shifts are
    no whole pixels.
    """
    count, width = len(values), values.shape[1]
    place = values.reshape(count, -1).argmax(axis=1)
    rows, columns = place // width, place % width
    every = np.arange(count)
    top = values[every, rows, columns]
    result = top.copy()
    for down, right in ((1, 0), (0, 1)):
        inside = (rows >= down) & (rows < width - down) & (columns >= right) & (columns < width - right)
        y, x = np.where(inside, rows, 1), np.where(inside, columns, 1)
        before, after = values[every, y - down, x - right], values[every, y + down, x + right]
        bend = 2 * top - before - after
        gain = (after - before) ** 2 / (8 * np.maximum(bend, 1e-9))
        result += np.where(inside & (bend > 1e-9), gain, 0.0)
    return np.minimum(result, 1.0), np.stack([rows, columns], axis=1) - width // 2


def overlap_dice(one: np.ndarray, other: np.ndarray, match: int, shift: tuple[int, int]) -> float:
    """Dice of two foreground thumbnails (SIDE, SIDE), matched and shifted as :class:`Match` says, over the part that
    both show; not a number where neither has foreground there.
    """
    cuts = MATCHES[match]
    a, b = (cut_out(m[None], CUTS[c])[0] for m, c in zip((one, other), cuts, strict=True))
    inside_a = tuple(slice(max(0, s), SIDE + min(0, s)) for s in shift)
    inside_b = tuple(slice(max(0, -s), SIDE + min(0, -s)) for s in shift)
    a, b = a[inside_a].astype(np.float64), b[inside_b].astype(np.float64)
    total = float(a.sum() + b.sum())
    return 2 * float(np.minimum(a, b).sum()) / total if total else float("nan")


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``count``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
