"""Time the metrics against MONAI, medpy and surface-distance on equal masks; equality is asserted first.

    python benchmarks/metrics.py [--repeats 5] [--threads 1] [--only pairs labels counts]

Three claims: HD95 of one pair of masks at five sizes; the metrics of seven labels of one volume, all in
one pass (MONAI: its five metric classes for Dice, IoU, HD95, ASSD and NSD, on one-hot volumes that were
made beforehand; medpy: Dice, IoU, HD95 and ASSD; surface-distance: HD95, ASD and NSD); voxel counts from
one histogram against boolean passes for each label.

MONAI and segtrace's tables define surface distances alike. medpy's HD95 is the convention ``pooled`` and
surface-distance's metrics are the convention ``surfel``: equality is asserted in these conventions, and how far the
tables' HD95 is from theirs is printed. A peer that is not installed is left out, and that is said.

Masks are ellipsoids with a wavy surface, the prediction's unlike the reference's, and sizes and spacings
are those of the data sets in the first column. Times are of the wall clock, medians in milliseconds with
the fastest and the slowest; the sides take turns, after one call each that is not counted, and a side
whose call takes more than five seconds has two. All sides use one thread; torch can be given more. Ratios
below 1.3 on a shared machine are ties.
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from segtrace.metrics import counts as counting
from segtrace.metrics.measures import Measures, measure
from segtrace.metrics.surface import Convention, average_distances, hausdorff, surface_distances

#: Name → (shape, spacing in mm, size of the object as part of the image, unevenness of its surface).
PAIRS: dict[str, tuple[tuple[int, ...], tuple[float, ...], float, float]] = {
    "hippocampus 36x50x35": ((36, 50, 35), (1.0, 1.0, 1.0), 0.3, 0.12),
    "2-D image 512x512": ((512, 512), (1.0, 1.0), 0.3, 0.12),
    "brain tumour 155x240x240": ((155, 240, 240), (1.0, 1.0, 1.0), 0.16, 0.12),
    "liver 40x512x512": ((40, 512, 512), (5.5, 0.7, 0.7), 0.3, 0.1),
    "heart 200x320x320": ((200, 320, 320), (0.6, 0.45, 0.45), 0.25, 0.05),
}
LABELS = range(1, 8)
SPACING = (1.5, 1.0, 1.0)
TOLERANCE = 1.25
SLOW_SECONDS = 5.0
PEERS = {"monai": "MONAI", "medpy": "medpy", "surface_distance": "surface-distance"}
#: Relative; MONAI computes in single precision.
EQUAL = 1e-6

Side = Callable[[], Any]


# --- masks --------------------------------------------------------------------------------------------


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
        centre, radius = rng.uniform([40, 60, 60], [120, 196, 196]), rng.uniform(14, 46, 3)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True))
        reference[inside < 1] = label
    prediction = np.roll(reference, (1, 2, -1), (0, 1, 2))
    rough = ndimage.grey_dilation(prediction, size=3)
    swapped = rng.random(reference.shape) < 0.3
    return np.where(swapped, rough, prediction), reference


# --- timing and printing ------------------------------------------------------------------------------


def in_turns(sides: Mapping[str, Side], *, repeats: int) -> dict[str, list[float]]:
    """Side → milliseconds of its calls, taken in turns, after one call each that is not counted."""
    wanted = {}
    for name, side in sides.items():
        start = time.perf_counter()
        side()
        slow = time.perf_counter() - start > SLOW_SECONDS
        wanted[name] = min(repeats, 2) if slow else repeats
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, side in sides.items():
            if turn < wanted[name]:
                start = time.perf_counter()
                side()
                found[name].append(1e3 * (time.perf_counter() - start))
    return found


def contest(name: str, sides: Mapping[str, Side], *, repeats: int) -> None:
    """Time the sides, of which the first is segtrace's, and print a row."""

    def shown(values: list[float]) -> str:
        return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    (_, ours), *others = in_turns(sides, repeats=repeats).items()
    row = f"{name:26s} segtrace {shown(ours):>26s} ms"
    for peer, theirs in others:
        ratio = statistics.median(theirs) / statistics.median(ours)
        row += f" | {peer} {shown(theirs)} ms, {ratio:.1f}x"
    print(row, flush=True)


def agree(ours: Any, theirs: Any, *, what: str) -> None:
    """Stop unless the values are equal to :data:`EQUAL`."""
    one, two = (np.asarray(values, float) for values in (ours, theirs))
    np.testing.assert_allclose(one, two, rtol=EQUAL, atol=EQUAL, err_msg=what)


def peers() -> dict[str, Any]:
    """The peers that are installed, imported; the others are named on the page."""
    np.Inf = np.inf  # type: ignore[attr-defined]  # what surface-distance 0.1 needs of NumPy 2
    found = {}
    for name, title in PEERS.items():
        try:
            found[name] = importlib.import_module(name)
        except ImportError as error:
            print(f"{title} is left out: {error}")
    if "monai" in found:
        found["monai"] = importlib.import_module("monai.metrics")
    if "medpy" in found:
        found["medpy"] = importlib.import_module("medpy.metric.binary")
    return found


# --- HD95 of one pair ---------------------------------------------------------------------------------


def hd95(pair: Sequence[np.ndarray], spacing: Sequence[float], convention: Convention) -> float:
    """HD95 of a prediction and a reference, from the masks on."""
    found = surface_distances(*pair, spacing=spacing, convention=convention)
    assert found is not None
    return hausdorff(found)


def hd95_of_one_pair(known: Mapping[str, Any], repeats: int) -> None:
    """Five sizes; against each peer in the tables' convention, and in the peer's own where that is another one."""
    print("\nHD95 of one pair of masks")
    for number, (name, (shape, spacing, radius, wave)) in enumerate(PAIRS.items()):
        reference, prediction = wavy(shape, radius, wave, seed=number)
        _one_size(name, (prediction, reference), spacing, known, repeats)


def _one_size(
    name: str,
    pair: tuple[np.ndarray, np.ndarray],
    spacing: Sequence[float],
    known: Mapping[str, Any],
    repeats: int,
) -> None:
    """One size; every convention equal to its peer first."""
    own: dict[str, tuple[Side, Convention]] = {}
    if "monai" in known:
        torch = importlib.import_module("torch")
        tensors = [torch.from_numpy(mask)[None, None] for mask in pair]
        options = {"include_background": True, "percentile": 95, "spacing": spacing}
        own["MONAI"] = (
            lambda: float(known["monai"].compute_hausdorff_distance(*tensors, **options)),
            Convention.BORDER,
        )
    if "medpy" in known:
        own["medpy"] = (lambda: known["medpy"].hd95(*pair, voxelspacing=spacing), Convention.POOLED)
    if "surface_distance" in known:
        peer = known["surface_distance"]
        own["surface-distance"] = (
            lambda: peer.compute_robust_hausdorff(
                peer.compute_surface_distances(pair[1], pair[0], spacing), 95
            ),
            Convention.SURFEL,
        )
    value, apart = hd95(pair, spacing, Convention.BORDER), []
    for peer_name, (side, convention) in own.items():
        theirs = side()
        agree(hd95(pair, spacing, convention), theirs, what=f"{name}, {peer_name}")
        apart += [f"{peer_name} {theirs:.3f} ({theirs / value - 1:+.1%})"] if convention != "border" else []
    told = f"; by their own definitions {', '.join(apart)}" if apart else ""
    print(f"{name}: {value:.3f} mm{told}")
    sides: dict[str, Side] = {"segtrace": lambda: hd95(pair, spacing, Convention.BORDER)}
    contest("  border", sides | {peer_name: side for peer_name, (side, _) in own.items()}, repeats=repeats)
    if "surface-distance" in own:
        side = own["surface-distance"][0]
        same: dict[str, Side] = {"segtrace": lambda: hd95(pair, spacing, Convention.SURFEL)}
        contest("  surfel", same | {"surface-distance": side}, repeats=repeats)


# --- seven labels -------------------------------------------------------------------------------------


def all_metrics(known: Mapping[str, Any], repeats: int) -> None:
    """Seven labels of one volume; the tables' metrics in one pass, in millimetres and in voxels."""
    prediction, reference = organs(seed=0)
    print(
        f"\nAll metrics of {len(LABELS)} labels, 160x256x256, {SPACING} mm (segtrace: counts, Dice, IoU, precision,"
    )
    print("recall, accuracy, NSD, and HD95, HD and ASSD in mm and in voxels)")

    def ours(convention: Convention = Convention.BORDER) -> list[Measures]:
        return measure(
            prediction,
            reference,
            labels=list(LABELS),
            spacing_mm=SPACING,
            tolerances=dict.fromkeys(LABELS, TOLERANCE),
            convention=convention,
        )

    sides: dict[str, Side] = {}
    if "monai" in known:
        sides["MONAI, five metric classes"] = monai_classes(known["monai"], prediction, reference)
        found = ours()
        values = [[row.dice, row.iou, row.hd95_mm, row.assd_mm, row.nsd] for row in found]
        agree(values, sides["MONAI, five metric classes"](), what="MONAI")
    if "medpy" in known:
        sides["medpy, four metrics"] = medpy_metrics(known["medpy"], prediction, reference)
        found = ours(Convention.POOLED)
        values = [[row.dice, row.iou, row.hd95_mm, row.assd_mm] for row in found]
        agree(values, sides["medpy, four metrics"](), what="medpy")
    contest("border", {"segtrace": ours} | sides, repeats=repeats)
    if "surface_distance" in known:
        theirs = surfel_metrics(known["surface_distance"], prediction, reference)
        found = ours(Convention.SURFEL)
        expected = theirs()
        agree([[row.hd95_mm, row.nsd] for row in found], expected[:, [0, 3]], what="surface-distance")
        for label, row in zip(LABELS, expected, strict=True):
            masks = prediction == label, reference == label
            alone = surface_distances(*masks, spacing=SPACING, convention=Convention.SURFEL)
            assert alone is not None
            agree(average_distances(alone), row[1:3], what=f"surface-distance, ASD of label {label}")
        name = "surface-distance, HD95, ASD, NSD"
        contest("border", {"segtrace": ours, name: theirs}, repeats=repeats)
        contest("surfel", {"segtrace": lambda: ours(Convention.SURFEL), name: theirs}, repeats=repeats)


def monai_classes(monai: Any, prediction: np.ndarray, reference: np.ndarray) -> Side:
    """MONAI's metric classes on one-hot masks that are made here, once."""
    torch = importlib.import_module("torch")
    masks = [
        torch.stack([torch.from_numpy(part) == label for label in (0, *LABELS)])[None]
        for part in (prediction, reference)
    ]

    def values() -> np.ndarray:
        distances = {"include_background": False}
        found = [
            monai.DiceMetric(include_background=False)(*masks),
            monai.MeanIoU(include_background=False)(*masks),
            monai.HausdorffDistanceMetric(percentile=95, **distances)(*masks, spacing=SPACING),
            monai.SurfaceDistanceMetric(symmetric=True, **distances)(*masks, spacing=SPACING),
            monai.SurfaceDiceMetric([TOLERANCE] * len(LABELS), **distances)(*masks, spacing=SPACING),
        ]
        return torch.cat([part.double() for part in found]).T.numpy()

    return values


def medpy_metrics(medpy: Any, prediction: np.ndarray, reference: np.ndarray) -> Side:
    """medpy's functions, label by label."""

    def values() -> np.ndarray:
        rows = []
        for label in LABELS:
            pair = prediction == label, reference == label
            surface = [medpy.hd95(*pair, voxelspacing=SPACING), medpy.assd(*pair, voxelspacing=SPACING)]
            rows.append([medpy.dc(*pair), medpy.jc(*pair), *surface])
        return np.array(rows)

    return values


def surfel_metrics(peer: Any, prediction: np.ndarray, reference: np.ndarray) -> Side:
    """surface-distance's functions, label by label: HD95, both directed ASDs, NSD."""

    def values() -> np.ndarray:
        rows = []
        for label in LABELS:
            found = peer.compute_surface_distances(reference == label, prediction == label, SPACING)
            back, forth = peer.compute_average_surface_distance(found)
            nsd = peer.compute_surface_dice_at_tolerance(found, TOLERANCE)
            rows.append([peer.compute_robust_hausdorff(found, 95), forth, back, nsd])
        return np.array(rows)

    return values


# --- counts -------------------------------------------------------------------------------------------


def counts_of_labels(repeats: int) -> None:
    """Two maps: organs as they lie, and every voxel labelled, where nothing can be skipped."""
    print(f"\nVoxel counts of {len(LABELS)} labels, 160x256x256 (identical)")
    seven = organs(seed=1)
    rng = np.random.default_rng(0)
    full = tuple(rng.integers(1, 8, seven[0].shape, dtype=np.uint8) for _ in range(2))
    for name, (prediction, reference) in (("organs", seven), ("every voxel labelled", full)):

        def passes(one: np.ndarray = prediction, two: np.ndarray = reference) -> dict[int, counting.Counts]:
            """True and false positives and negatives as nnU-Net's evaluation takes them, label by label."""
            found = {}
            for label in LABELS:
                a, b = one == label, two == label
                parts = ((a & b), (a & ~b), (~a & b), (~a & ~b))
                found[label] = counting.Counts(*(int(part.sum()) for part in parts))
            return found

        def ours(one: np.ndarray = prediction, two: np.ndarray = reference) -> dict[int, counting.Counts]:
            return counting.count(one, two, labels=list(LABELS))

        assert ours() == passes()
        contest(name, {"segtrace": ours, "boolean passes": passes}, repeats=repeats)


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each side (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, for MONAI (default 1)")
    parts = ("pairs", "labels", "counts")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="some of the comparisons")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    known = peers()
    if "monai" in known:
        importlib.import_module("torch").set_num_threads(asked.threads)
    versions = [
        f"{package} {importlib.metadata.version(package)}"
        for name, package in {
            "numpy": "numpy",
            "monai": "monai",
            "medpy": "medpy",
            "surface_distance": "surface-distance",
        }.items()
        if name == "numpy" or name in known
    ]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}"
    )
    print(f"{asked.repeats} turns; medians (fastest to slowest); equal to {EQUAL:g} before anything is timed")
    if "pairs" in asked.only:
        hd95_of_one_pair(known, asked.repeats)
    if "labels" in asked.only:
        all_metrics(known, asked.repeats)
    if "counts" in asked.only:
        counts_of_labels(asked.repeats)


if __name__ == "__main__":
    main()
