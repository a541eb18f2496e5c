"""Draw a report's cases: seconds, memory and bytes of panel rows, viewer and surfaces of large volumes.

    python benchmarks/pictures.py [--methods 12] [--cases 5] [--labels 7] [--size 150 200 200]

Volumes are generated: blobs with touching labels and noise, 16-bit greys, written as .nii.gz and read as the
report reads them. First one case's slices are unpacked and compared with the volume that they were cut from.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from segtrace import images
from segtrace.geometry import Grid
from segtrace.report import panels, surfaces, viewer
from segtrace.report.cases import Case
from segtrace.report.packing import unpacked


def label_map(shape: tuple[int, ...], labels: int, *, seed: int, move: float) -> np.ndarray:
    """Touching blobs, their borders rough, moved by ``move`` voxels."""
    draw = np.random.default_rng(seed)
    rough = ndimage.zoom(draw.normal(size=[-(-n // 8) for n in shape]), 8, order=1)[tuple(map(slice, shape))]
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    made = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        centre = [n * (0.5 + 0.18 * np.cos(2.1 * label + a)) + move for a, n in enumerate(shape)]
        distance = sum(((a - c) / (n * 0.17)) ** 2 for a, c, n in zip(axes, centre, shape, strict=True))
        made[distance + 0.1 * rough < 1] = label
    return made


def main() -> None:
    """Generate, check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=12)
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--labels", type=int, default=7)
    parser.add_argument("--size", type=int, nargs=3, default=(150, 200, 200), metavar=("D", "H", "W"))
    options = parser.parse_args()
    shape = tuple(options.size)
    grid = Grid(tuple(reversed(shape)), (0.8, 0.8, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    labels = {label: f"structure_{label}" for label in range(1, options.labels + 1)}
    nothing = panels.Scored(mean="–", labels=(), fold=0, seed=0)
    seconds = dict.fromkeys(("read", "panel", "viewer", "surfaces"), 0.0)
    sizes = dict.fromkeys(("panel", "viewer", "surfaces"), 0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.cases):
            reference = label_map(shape, options.labels, seed=number, move=0)
            grey = np.random.default_rng(number).normal(reference * 60 - 200, 25).astype(np.int16)
            Path(folder, "image.nii.gz").write_bytes(images.nifti_bytes(grey, grid, level=1))
            names = {f"method_{m}": m for m in range(options.methods)}
            for name, m in names.items():
                moved = label_map(shape, options.labels, seed=99 + m, move=m / 3)
                images.write_label(Path(folder, f"{name}.nii.gz"), moved, grid)

            start = time.perf_counter()
            case = Case(
                f"case_{number}",
                image=images.read_volume(Path(folder, "image.nii.gz")),
                reference=images.from_array(reference, grid),
                predictions={name: images.read_label_file(Path(folder, f"{name}.nii.gz")) for name in names},
            )
            scene = case.scene
            seconds["read"] += time.perf_counter() - start

            start = time.perf_counter()
            row = panels.row_of(case, scored=dict.fromkeys(names, nothing), labels=labels)
            seconds["panel"] += time.perf_counter() - start
            lines = [line for cell in row.cells for line in cell.outlines]
            sizes["panel"] += len(row.png) + sum(len(line.path) for line in (*lines, *row.reference))

            start = time.perf_counter()
            dice = dict.fromkeys(names, "")
            slices = viewer.content(scene, labels=labels, dice=dice, voxels=viewer.VOXELS // options.cases)
            seconds["viewer"] += time.perf_counter() - start
            sizes["viewer"] += len(json.dumps(slices))
            shown = unpacked(slices["reference"]).reshape(slices["shape"])
            places = zip(slices["first"], slices["steps"], slices["shape"], strict=True)
            expected = reference[np.ix_(*(f + s * np.arange(n) for f, s, n in places))]
            assert (shown == expected).all()

            start = time.perf_counter()
            found = surfaces.views(scene, list(labels))
            assert found is not None
            frame, views = found
            for parts in views.values():
                sizes["surfaces"] += len(surfaces.still(parts, frame))
                sizes["surfaces"] += len(json.dumps(surfaces.content(parts, frame)))
            seconds["surfaces"] += time.perf_counter() - start
            print(
                f"{case.name}: viewer {slices['shape']}, steps {slices['steps']}, cells {frame.cell_mm:.2f} mm"
            )
    print(f"{options.methods} methods, {options.cases} cases of {shape} voxels, {options.labels} labels")
    for what, spent in seconds.items():
        print(f"{what:9} {spent:6.1f} s" + (f" {sizes[what] / 1e6:6.2f} MB" if what in sizes else ""))
    print(f"together  {sum(seconds.values()):6.1f} s {sum(sizes.values()) / 1e6:6.2f} MB")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
