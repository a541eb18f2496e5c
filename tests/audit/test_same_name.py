"""Cases that two data sets name alike, though their images are not found to be alike."""

from pathlib import Path

import numpy as np
import pytest

import toy_config
from segtrace import cli, upkeep


def write(name: str, images: dict[str, np.ndarray]) -> None:
    label = np.zeros((80, 90), np.uint8)
    label[10:20, 10:30] = 1
    toy_config.pictures(name, {case: (image, label) for case, image in images.items()})
    assert cli.main(["index", name, "--workers", "1"]) == 0


def test_both_images_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(upkeep, "require_own_source", lambda: None)
    toy_config.write(dimensions=2)
    drawn = np.random.default_rng(0)
    noise = [drawn.integers(0, 255, (80, 90), dtype=np.uint8) for _ in range(3)]
    # s1 is equal to s0 in the first set, and so to s1 of the second only by way of s0.
    write("one", {"s0_a": noise[0], "s1_a": noise[0], "s2_a": noise[1]})
    write("two", {"s1_a": noise[0], "s2_a": noise[2]})
    assert cli.main(["audit", "one", "two"]) == 0
    assert (
        "one and two: 2 cases of the same name (1 of them with images that are not found to be alike), "
        in (capsys.readouterr().out)
    )
    text = Path("reports/audit/one+two/index.html").read_text()
    assert "Same name, but images that are not found to be alike" in text
    for end in ("one/s2_a", "two/s2_a"):
        assert f'alt="{end} with the outline of its mask"' in text
