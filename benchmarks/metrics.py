"""Time the metrics against MONAI's on equal masks, in one run and one thread; equality is asserted first.

    python benchmarks/metrics.py [--repeats 3]

Three claims: HD95 of one pair of masks at five sizes; all metrics of seven labels of one volume in one
pass (MONAI: DiceMetric, MeanIoU, ConfusionMatrixMetric and HausdorffDistanceMetric on one-hot volumes,
whose making is counted); voxel counts from one histogram against boolean passes for each label.

Masks are ellipsoids with a wavy surface, the prediction's unlike the reference's, and sizes and spacings
are those of the data sets in the first column. Times are medians in milliseconds, with the fastest and the
slowest. Ratios below 1.3 on a shared machine are ties.
"""

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai import metrics as peer
from scipy import ndimage

from segtrace.metrics import counts as counting
from segtrace.metrics.measures import measure
from segtrace.metrics.surface import hausdorff, surface_distances

#: Name → (shape, spacing in mm, size of the object as part of the image, unevenness of its surface).
PAIRS: dict[str, tuple[tuple[int, ...], tuple[float, ...], float, float]] = {
    "hippocampus 36x50x35": ((36, 50, 35), (1.0, 1.0, 1.0), 0.3, 0.12),
    "2-D image 512x512": ((512, 512), (1.0, 1.0), 0.3, 0.12),
    "brain tumour 155x240x240": ((155, 240, 240), (1.0, 1.0, 1.0), 0.16, 0.12),
    "liver 40x512x512": ((40, 512, 512), (5.5, 0.7, 0.7), 0.3, 0.1),
    "heart 200x320x320": ((200, 320, 320), (0.6, 0.45, 0.45), 0.25, 0.05),
}
LABELS = range(1, 8)


def wavy(shape: Sequence[int], radius: float, wave: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two masks (D, H, W) or (H, W) of one object: a reference, and a prediction that errs along its surface."""

    def field(number: int) -> np.ndarray:
        noise = np.random.default_rng([seed, number]).standard_normal(shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(noise, [max(1.0, n / 25) for n in shape])
        return smooth / smooth.std()

    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    distance = sum(((axis - n / 2) / (n * radius)) ** 2 for axis, n in zip(axes, shape, strict=True))
    surface = distance + 0.25 * field(0)
    return surface < 1, surface + wave * field(1) < 1


def organs(*, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Label maps (160, 256, 256) of seven organs; the prediction is moved and rough."""
    rng = np.random.default_rng(seed)
    reference = np.zeros((160, 256, 256), np.uint8)
    axes = np.ogrid[tuple(slice(0, n) for n in reference.shape)]
    for label in LABELS:
        centre, radius = rng.uniform([40, 60, 60], [120, 196, 196]), rng.uniform(12, 34, 3)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True))
        reference[inside < 1] = label
    prediction = np.roll(reference, (1, 2, -1), (0, 1, 2))
    rough = ndimage.grey_dilation(prediction, size=3)
    swapped = rng.random(reference.shape) < 0.3
    return np.where(swapped, rough, prediction), reference


def times(function: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each of ``repeats`` calls, after one that is not counted."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def row(name: str, ours: list[float], theirs: list[float]) -> None:
    """Print one comparison."""

    def shown(values: list[float]) -> str:
        return f"{statistics.median(values):8.1f} ({min(values):.1f} to {max(values):.1f})"

    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"{name:28s} {shown(ours):>32s} {shown(theirs):>32s} {ratio:7.1f}x", flush=True)


def head(title: str, peer_name: str) -> None:
    """Print a table's first lines."""
    print(f"\n{title}\n{'':28s} {'segtrace, ms':>32s} {peer_name + ', ms':>32s}    ratio")


def agree(ours: Sequence[float | None], theirs: Sequence[float], *, what: str) -> None:
    """Stop unless the values are equal to 1e-6 (relative; MONAI computes in single precision)."""
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=2e-6, err_msg=what)


def hd95_of_one_pair(repeats: int) -> None:
    head("HD95 of one pair of masks (equal to MONAI)", "MONAI")
    for number, (name, (shape, spacing, radius, wave)) in enumerate(PAIRS.items()):
        reference, prediction = wavy(shape, radius, wave, seed=number)
        pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]

        def ours(
            one: np.ndarray = prediction, two: np.ndarray = reference, step: Sequence[float] = spacing
        ) -> float:
            found = surface_distances(one, two, spacing=step)
            assert found is not None
            return hausdorff(found)

        def theirs(masks: list[torch.Tensor] = pair, step: Sequence[float] = spacing) -> float:
            return float(
                peer.compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=step)
            )

        agree([ours()], [theirs()], what=name)
        row(name, times(ours, repeats), times(theirs, repeats))


def all_metrics(repeats: int) -> None:
    head("Dice, IoU, precision, recall, accuracy, HD95 of 7 labels, 160x256x256 (equal to MONAI)", "MONAI")
    prediction, reference = organs(seed=0)
    confusion = ["precision", "sensitivity", "accuracy"]
    spacing = (1.5, 1.0, 1.0)

    def ours() -> list[list[float | None]]:
        rows = measure(prediction, reference, labels=list(LABELS), spacing_mm=spacing)
        return [[r.dice, r.iou, r.hd95_mm, r.precision, r.recall, r.accuracy] for r in rows]

    def theirs() -> np.ndarray:
        masks = [
            torch.stack([torch.from_numpy(map_) == label for label in (0, *LABELS)])[None]
            for map_ in (prediction, reference)
        ]
        found = [
            peer.compute_dice(*masks, include_background=False)[0],
            peer.compute_iou(*masks, include_background=False)[0],
            peer.compute_hausdorff_distance(*masks, percentile=95, spacing=spacing)[0],
        ]
        counts = peer.get_confusion_matrix(*(mask.byte() for mask in masks), include_background=False)
        found += [peer.compute_confusion_matrix_metric(key, counts)[0] for key in confusion]
        return torch.stack(found, 1).numpy()

    for label, one, two in zip(LABELS, ours(), theirs(), strict=True):
        agree(one, two, what=f"label {label}")
    row("1.5 x 1 x 1 mm", times(ours, repeats), times(theirs, repeats))


def counts_of_labels(repeats: int) -> None:
    head("Counts of 7 labels, 160x256x256 (identical)", "boolean passes")
    prediction, reference = organs(seed=1)

    def passes() -> dict[int, counting.Counts]:
        """True and false positives and negatives as nnU-Net's evaluation takes them, label by label."""
        found = {}
        for label in LABELS:
            one, two = prediction == label, reference == label
            parts = ((one & two), (one & ~two), (~one & two), (~one & ~two))
            found[label] = counting.Counts(*(int(part.sum()) for part in parts))
        return found

    def ours() -> dict[int, counting.Counts]:
        return counting.count(prediction, reference, labels=list(LABELS))

    assert ours() == passes()
    row("organs", times(ours, repeats), times(passes, repeats))


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each function (default 3)")
    repeats = parser.parse_args().repeats
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    torch.set_num_threads(1)
    print(f"{platform.machine()}, one thread, {repeats} repeats; medians (fastest to slowest)")
    hd95_of_one_pair(repeats)
    all_metrics(repeats)
    counts_of_labels(repeats)


if __name__ == "__main__":
    main()
