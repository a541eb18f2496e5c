"""Augment one patch of 96³ beside batchgeneratorsv2 and MONAI: rotation, scaling, flips and intensities.

    .venv-peers/bin/python benchmarks/augment.py [--repeats 15]

Every side draws its own parameters and always applies all changes: rotation about three axes within 30°,
scaling between 0.7 and 1.4, flips along three axes with probability 0.5, multiplied and shifted intensities.
Image by linear interpolation; label maps, of two structures and background, either by the nearest voxel or by
the largest of the labels' linearly interpolated shares, which is nnU-Net's default in batchgeneratorsv2 and
which MONAI's dictionary transforms have not. The peers get the part of the case that nnU-Net would cut out
for such a patch; segtrace samples the case itself. First, the sampling of each peer is repeated by segtrace: the
map from voxels to positions is read off the peer (it moves an image of the coordinates), and both are
compared with each other and with SciPy. On one thread and on two.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import ndimage

import measure
import synthetic
from segtrace.train import augment, sampling, warp

SIDE = 96
CASE = (200, 210, 190)
AUGMENTATION: Mapping[str, Any] = synthetic.hippocampus()["training"]["augmentation"] | {
    "flip_p": 0.5,
    "rot90_p": 0.0,
    "shift_p": 1.0,
    "scale_p": 1.0,
    "scale": 0.25,
    "rotate_p": 1.0,
    "zoom_p": 1.0,
}
Sampler = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def case(shape: tuple[int, ...], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image (D, H, W) float32 and a label map of two wavy structures that touch."""
    random = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    radius = np.sqrt(sum(axis**2 for axis in axes))
    field = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), 6)
    inside = radius + 0.4 * field / field.std() / 3 < 0.45
    label = np.where(inside, np.where(axes[0] + 0.5 * field / field.std() / 3 < 0, 1, 2), 0).astype(np.uint8)
    image = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), 1) * 2 + label
    return image.astype(np.float32), label


def ours(pool: augment.Pool, label: np.ndarray, mode: warp.LabelMode) -> Callable[[], Any]:
    """segtrace: parameters drawn by (seed, epoch, case, draw), then applied to the pool."""
    box = augment.Box(0, label.shape, (0, 0, 0), label.shape)
    labelled = sampling.Labelled.of(label)
    crop = {"size": [SIDE] * 3, "foreground": 1.0, "background": 0.0}
    epoch = 0

    def call() -> Any:
        nonlocal epoch
        epoch += 1
        drawn = sampling.draw(
            seed=0,
            epoch=epoch,
            case="a",
            count=1,
            labelled=labelled,
            crop=crop,
            augmentation=AUGMENTATION,
        )
        return augment.apply(pool, [box], drawn, label_interpolation=mode)

    return call


def batchgenerators(mode: str, *, angle: float, factors: tuple[float, float], intensities: bool) -> Any:
    """batchgeneratorsv2's transforms, composed as nnU-Net composes them."""
    from batchgeneratorsv2.transforms.intensity.brightness import (
        BrightnessAdditiveTransform,
        MultiplicativeBrightnessTransform,
    )
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    spatial = SpatialTransform(
        (SIDE,) * 3,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=1,
        rotation=(-angle, angle),
        p_scaling=1,
        scaling=factors,
        p_synchronize_scaling_across_axes=1,
        mode_seg=mode,
    )
    rest = [
        MirrorTransform((0, 1, 2)),
        MultiplicativeBrightnessTransform((0.75, 1.25), synchronize_channels=False),
        BrightnessAdditiveTransform(0, 0.1),
    ]
    return ComposeTransforms([spatial, *rest]) if intensities else spatial


def monai(*, angle: float, factors: tuple[float, float], intensities: bool) -> Any:
    """MONAI's dictionary transforms."""
    from monai import transforms

    low, high = factors[0] - 1, factors[1] - 1
    keys = ["image", "label"]
    spatial = transforms.RandAffined(
        keys,
        prob=1,
        rotate_range=[angle] * 3,
        scale_range=[(low, high)] * 3,
        spatial_size=(SIDE,) * 3,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    rest = [
        *(transforms.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
        transforms.RandScaleIntensityd("image", factors=0.25, prob=1),
        transforms.RandShiftIntensityd("image", offsets=0.1, prob=1),
    ]
    return transforms.Compose([spatial, *rest]) if intensities else spatial


def sample_batchgenerators(mode: str, seed: int) -> Sampler:
    """The peer's spatial transform alone, with parameters by ``seed``."""
    transform = batchgenerators(mode, angle=0.3, factors=(0.9, 1.1), intensities=False)

    def call(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        np.random.seed(seed)
        torch.manual_seed(seed)
        found = transform(image=image, segmentation=label[None].to(torch.int16))
        return found["image"], found["segmentation"][0]

    return call


def sample_monai(seed: int) -> Sampler:
    """The peer's spatial transform alone, with parameters by ``seed``."""
    transform = monai(angle=0.3, factors=(0.9, 1.1), intensities=False)

    def call(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        transform.set_random_state(seed)
        found = transform({"image": image, "label": label[None].float()})
        return torch.as_tensor(found["image"]), torch.as_tensor(found["label"])[0]

    return call


def matrix_of(sampler: Sampler, shape: tuple[int, ...], label: torch.Tensor) -> torch.Tensor:
    """The map (1, 3, 4) from voxels of a sample to positions, read off the coordinates that the sampler moves."""
    ramps = torch.from_numpy(np.indices(shape).astype(np.float32))
    moved = sampler(ramps, label)[0].double()
    index = torch.from_numpy(np.indices((SIDE,) * 3).reshape(3, -1).astype(float))
    ones = torch.cat([index, torch.ones(1, index.shape[1], dtype=torch.float64)])
    solution = torch.linalg.lstsq(ones.T, moved.reshape(3, -1).T).solution.T
    error = float((solution @ ones - moved.reshape(3, -1)).abs().max())
    assert error < 5e-3, f"the peer's map is not affine, or leaves the case: {error} voxels"
    return solution[None]


def equal(name: str, sampler: Sampler, mode: warp.LabelMode) -> None:
    """Say how far the peer, segtrace and SciPy are apart on one map; stop where they are not one sampling."""
    shape = (150, 160, 155)
    image, label = case(shape, seed=1)
    pixels, map_ = torch.from_numpy(image)[None], torch.from_numpy(label)
    theirs, their_label = sampler(pixels, map_)
    matrix = matrix_of(sampler, shape, map_)
    mine, my_label = warp.sample_affine(
        pixels.flatten(1),
        map_.flatten(),
        matrix.float(),
        (SIDE,) * 3,
        starts=[0],
        shapes=[shape],
        label_mode=mode,
    )
    places = np.tensordot(matrix[0, :, :3].numpy(), np.indices((SIDE,) * 3), 1)
    places += matrix[0, :, 3].numpy().reshape(3, 1, 1, 1)
    plain = ndimage.map_coordinates(image.astype(float), places, order=1, mode="nearest")
    if mode == "nearest":
        plain_label = ndimage.map_coordinates(label, places, order=0, mode="nearest")
    else:
        shares = [
            ndimage.map_coordinates((label == v) * 1.0, places, order=1, mode="nearest") for v in range(3)
        ]
        plain_label = np.stack(shares).argmax(0)
    apart = [float(np.abs(plain - one.numpy()).max()) for one in (mine[0, 0], theirs[0])]
    wrong = [float((plain_label != one.numpy()).mean()) for one in (my_label[0], their_label)]
    measure.say(
        f"  {name:34s} image: segtrace {apart[0]:.1e}, peer {apart[1]:.1e} from SciPy;  "
        f"labels: {wrong[0]:.1e} and {wrong[1]:.1e} of the voxels differ"
    )
    assert apart[0] < 1e-2, f"{name}: image"
    assert apart[1] < 1e-2, f"{name}: image"
    assert max(wrong) < 2e-3, f"{name}: labels"


def times(threads: int, repeats: int) -> None:
    """The table on so many threads."""
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    torch.set_num_threads(threads)
    image, label = case(CASE)
    pool = augment.Pool(torch.from_numpy(image).reshape(1, -1), torch.from_numpy(label).reshape(-1))
    angle = np.pi / 6
    cut = tuple(int(n) for n in get_patch_size([SIDE] * 3, angle, angle, angle, (0.85, 1.25)))
    first = [(n - c) // 2 for n, c in zip(CASE, cut, strict=True)]
    part = tuple(slice(f, f + c) for f, c in zip(first, cut, strict=True))
    pixels = torch.from_numpy(np.ascontiguousarray(image[part]))[None]
    map_ = torch.from_numpy(np.ascontiguousarray(label[part]))
    whole = {"angle": angle, "factors": (0.7, 1.4), "intensities": True}
    linear = batchgenerators("bilinear", **whole)
    nearest = batchgenerators("nearest", **whole)
    dictionary = monai(**whole)
    segmentation, plain = map_[None].to(torch.int16), map_[None].float()

    def peer(transform: Any) -> Callable[[], Any]:
        return lambda: transform(image=pixels, segmentation=segmentation)

    measure.head(
        f"one patch of {SIDE}³ from {cut[0]}x{cut[1]}x{cut[2]}, {threads} thread{'s' * (threads > 1)}, ms",
        ["segtrace", "peer"],
    )
    rows = {
        "labels by share: batchgeneratorsv2": ("linear", peer(linear)),
        "labels nearest: batchgeneratorsv2": ("nearest", peer(nearest)),
        "labels nearest: MONAI": ("nearest", lambda: dictionary({"image": pixels, "label": plain})),
    }
    for name, (mode, theirs) in rows.items():
        sides = {"segtrace": ours(pool, label, mode), "peer": theirs}
        measure.row(name, measure.in_turns(sides, repeats=repeats, warm_up=3), bar=2)


def main() -> None:
    """Run the comparisons and print them."""
    chosen = measure.arguments(__doc__, repeats=15).parse_args()
    measure.say(measure.machine())
    measure.say("one sampling, by both and by SciPy (order 1 and 0, in double precision):")
    equal("batchgeneratorsv2, by share", sample_batchgenerators("bilinear", 3), "linear")
    equal("batchgeneratorsv2, nearest", sample_batchgenerators("nearest", 3), "nearest")
    equal("MONAI, nearest", sample_monai(3), "nearest")
    for threads in (1, 2):
        times(threads, chosen.repeats)


if __name__ == "__main__":
    main()
