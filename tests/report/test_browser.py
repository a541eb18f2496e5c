"""The page in a real browser, opened from disk with every request refused."""

import re
import shutil
import subprocess

import pytest

from segtrace import layout
from segtrace.cli import main

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_charts_are_drawn_without_errors(make_project, tmp_path):
    project = make_project(title="<b>Toy</b>")
    assert main(["compare", "toy"]) == 0
    assert main(["report", "toy"]) == 0
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'browser'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--window-size=1024,12000",
            "--virtual-time-budget=20000",
            "--enable-logging=stderr",
            "--dump-dom",
            layout.report("toy").resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    places = re.findall(r'<div class="chart[ "][^>]*>', done.stdout)
    known = {re.search(r' id="([^"]+)"', place)[1]: 'data-drawn="yes"' in place for place in places}
    assert set(known) == project.charts()
    assert {name for name, drawn in known.items() if drawn} == {
        name for name in known if not project.folded(name)
    }
    assert "cannot be drawn" not in done.stdout.split("<script")[0]
    assert "<b>Toy</b>" not in done.stdout.split("<script")[0]
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
