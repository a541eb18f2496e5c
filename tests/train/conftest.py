"""A folder with the cases of the tiny run."""

from pathlib import Path

import pytest
from train_helpers import write_cases


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_cases(Path("prepared"))
    return tmp_path
