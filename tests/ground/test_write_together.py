"""Files of one case are written together: all or none, each flushed before the first gets its name."""

import os
from pathlib import Path

import pytest

from segtrace import files


def test_names_are_given_in_order_after_all_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flush, replace = os.fsync, os.replace

    def noted_flush(descriptor: int) -> None:
        flush(descriptor)
        events.append("flush")

    def noted_replace(old: Path, new: Path) -> None:
        replace(old, new)
        events.append(new.name)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(os, "replace", noted_replace)
    files.write_together({tmp_path / name: [name.encode(), memoryview(b"!")] for name in ("b", "c", "a")})
    assert events == ["flush", "flush", "flush", "b", "c", "a"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: f"{name}!".encode() for name in "abc"
    }
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in tmp_path.iterdir())


@pytest.mark.parametrize("failing", [0, 2])
def test_a_failed_flush_leaves_the_old_files_and_nothing_else(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file the disk refuses, the first or one that another thread flushes."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("old")
    flush = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.startswith(f".{'abc'[failing]}."):
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        files.write_together({tmp_path / name: [b"new"] for name in ("a", "b", "c")})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("abc", "old")
