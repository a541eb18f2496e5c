"""Ultrasound Nerve Segmentation: TIFF frames by subject, a table of run lengths, test frames without masks."""

from pathlib import Path

import numpy as np

from miniatures import Expected, box, noise, picture, write_zip


def run_lengths(mask: np.ndarray) -> str:
    """Pairs of start and length down the columns, counted from 1, as in ``train_masks.csv``."""
    flat = np.concatenate([[0], mask.T.ravel() > 0, [0]]).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(
        f"{start + 1} {end - start}" for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def build(folder: Path) -> dict[str, Expected]:
    """Frames 1, 2 and 12 of subject 2 and frame 3 of subject 10; two masks are empty, one beside a frame that is the same."""
    size = (42, 58)
    nerve = box(size, (10, 18), (20, 32), value=255)
    empty = np.zeros(size, np.uint8)
    frames = {(2, 1): nerve, (2, 2): empty, (2, 12): nerve, (10, 3): empty}
    files, rows, expected = {}, ["subject,img,pixels"], {}
    for (subject, frame), mask in frames.items():
        seed = subject + frame // 10  # frames 1 and 2 of subject 2 are the same, their masks contradict
        files[f"train/{subject}_{frame}.tif"] = picture(noise(*size, seed=seed), "TIFF")
        files[f"train/{subject}_{frame}_mask.tif"] = picture(mask, "TIFF", compression="tiff_lzw")
        rows.append(f"{subject},{frame},{run_lengths(mask)}")
        expected[f"s{subject:02d}_f{frame:03d}"] = Expected(
            size[::-1], {1: 96 if mask.any() else 0}, subject=f"s{subject:02d}"
        )
    files["train/._2_1.tif"] = b"\0\5\x16\7"
    files["test/1.tif"] = picture(noise(*size, seed=9), "TIFF")
    files["train_masks.csv"] = "\n".join(rows).encode()
    files["sample_submission.csv"] = b"img,pixels\n1,1 1\n"
    write_zip(folder / "ultrasound-nerve-segmentation.zip", files)
    return expected
