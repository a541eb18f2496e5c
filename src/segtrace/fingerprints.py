"""Thumbnails and perceptual hashes of images, by which duplicates are found without reading images again.

A thumbnail is 2 x SIDE x SIDE bytes: the image in grey, and the share of foreground in its mask. A
fingerprint is the signs of an image's lowest DCT coefficients (after the "pHash" of Zauner, Implementation and
benchmarking of perceptual image hash functions, 2010), which are moved and negated in a known way when the
image is flipped or turned: all eight placements are compared by the bits alone.

All sums run in a fixed order, so that equal images give equal bytes on every machine.
"""

import itertools

import numpy as np
from scipy import fft

#: Side of a thumbnail in pixels.
SIDE = 64
#: Shape of a case's thumbnails: image and mask.
SHAPE = (2, SIDE, SIDE)
#: Coefficients of a fingerprint along each axis, the constant one included (its bit is always 0).
COEFFICIENTS = 8
#: Thumbnails that are transformed at a time, which bounds memory.
AT_ONCE = 256
#: The eight placements of a square: turned by quarter turns, then turned over or not. ``TRANSFORMS[t]`` is the
#: name of what :func:`transformed` does for ``t``.
TRANSFORMS = (
    "none",
    "flipped left-right",
    "flipped up-down",
    "turned by 180",
    "transposed",
    "turned clockwise",
    "turned anticlockwise",
    "transposed across",
)


def thumbnails(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Both thumbnails of a case, (2, SIDE, SIDE) uint8: its image, and the share of its foreground (255: all).

    ``image`` is (C, D, H, W) or (C, H, W), ``label`` (D, H, W) or (H, W). Channels are averaged, and so are the
    slices of the middle fifth of a volume (over all slices, too little would be left of what tells one patient from
    another), and those of its mask. Greys are stretched between their 0.5th and 99.5th percentile; a pixel with any foreground
    has a share of at least 1.
    """
    if image.ndim == 4:
        depth = image.shape[1]
        image = image[:, depth * 2 // 5 : -(-depth * 3 // 5)]
    grey = _reduced(image.reshape(-1, *image.shape[-2:]))
    low, high = np.percentile(grey, (0.5, 99.5), method="nearest")
    shown = np.clip((grey - low) / (high - low), 0, 1) if high > low else np.zeros_like(grey)
    share = np.clip(_reduced((label > 0).reshape(-1, *label.shape[-2:])), 0, 1)
    return np.stack([np.rint(shown * 255), np.ceil(share * 255)]).astype(np.uint8)


def _reduced(planes: np.ndarray) -> np.ndarray:
    """The mean of planes (N, H, W) over each cell of a grid of SIDE x SIDE, float64."""
    return _binned(_binned(planes).T[None]).T / len(planes)


def _binned(planes: np.ndarray) -> np.ndarray:
    """Sum of planes (N, H, W), averaged over SIDE equal parts of H; a row across a border counts by its shares."""
    size = planes.shape[1]
    edges = np.arange(SIDE + 1) * size / SIDE
    result = np.empty((SIDE, planes.shape[2]))
    for part, (start, stop) in enumerate(itertools.pairwise(edges)):
        first, last = int(start), min(int(np.ceil(stop)), size)
        rows = planes[:, first:last].sum(axis=0, dtype=np.float64)
        inside = rows.sum(axis=0) - rows[0] * (start - first) - rows[-1] * (last - stop)
        result[part] = inside / (stop - start)
    return result


def fingerprint(thumbnail: np.ndarray) -> int:
    """The 64-bit fingerprint of an image's thumbnail (SIDE, SIDE)."""
    return int(fingerprints(thumbnail[None])[0])


def fingerprints(greys: np.ndarray) -> np.ndarray:
    """Fingerprints of image thumbnails (N, SIDE, SIDE) as uint64 (N,); bit 8 u + v is that of DCT coefficient (u, v)."""
    codes = np.empty(len(greys), np.uint64)
    for start in range(0, len(greys), AT_ONCE):
        part = greys[start : start + AT_ONCE].astype(np.float64)
        low = fft.dctn(part, axes=(1, 2), norm="ortho")[:, :COEFFICIENTS, :COEFFICIENTS]
        bits = (low > 1e-6).reshape(len(part), -1)  # rounding leaves up to 1e-10 where a coefficient is 0
        bits[:, 0] = False
        codes[start : start + AT_ONCE] = _packed(bits)
    return codes


def _packed(bits: np.ndarray) -> np.ndarray:
    """(N, 64) of False and True as uint64 (N,); the first is the lowest bit."""
    return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def placed(codes: np.ndarray) -> np.ndarray:
    """Fingerprints (N,) of images in all eight placements, (8, N) uint64, in the order of ``TRANSFORMS``.

    A flip negates the coefficients that are odd along its axis; a transposition exchanges the axes. A coefficient
    of exactly 0 keeps its bit in neither case, so an image that is its own mirror image may be some bits off.
    """
    little = np.ascontiguousarray(codes, "<u8").view(np.uint8).reshape(len(codes), 8)
    bits = np.unpackbits(little, axis=1, bitorder="little").astype(bool).reshape(-1, 8, 8)
    rows, columns = np.indices((COEFFICIENTS, COEFFICIENTS)) % 2 == 1
    result = []
    for turned in (bits, bits.transpose(0, 2, 1)):
        for odd in (np.zeros_like(rows), columns, rows, rows ^ columns):
            flipped = turned ^ odd
            flipped[:, 0, 0] = False
            result.append(_packed(flipped.reshape(-1, 64)))
    return np.stack(result)


def transformed(pictures: np.ndarray, transform: int) -> np.ndarray:
    """Pictures (..., SIDE, SIDE) in one of the eight placements: that of ``TRANSFORMS[transform]``."""
    turned = np.swapaxes(pictures, -1, -2) if transform >= 4 else pictures
    down, right = (transform % 4) // 2, transform % 2
    return turned[..., :: -1 if down else 1, :: -1 if right else 1]


def as_text(code: int) -> str:
    """A fingerprint as 16 hexadecimal digits."""
    return f"{code:016x}"
