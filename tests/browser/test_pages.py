"""Pages in the system's Chromium, opened from disk with the network off: ``make test-browser``.

Without ``PAGES`` a page of images and one of volumes are made, from scores of ellipses. With
``make test-browser PAGES="reports/hippocampus/index.html reports/busi/index.html"`` those are judged instead.
A table of what was found goes to ``.browser/table.md``, screenshots and prints beside it.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from report.conftest import Project
from report.test_compared import fill_tables
from segtrace import layout
from segtrace.cli import main

MODULES = os.environ.get("SEGTRACE_BROWSER", "")
PAGES = [Path(name).resolve() for name in os.environ.get("SEGTRACE_PAGES", "").split()]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
NODE = shutil.which("node")
SCRIPT = Path(__file__).with_name("check.mjs")
pytestmark = [
    pytest.mark.skipif(
        not MODULES,
        reason="SEGTRACE_BROWSER names no folder with playwright-core and axe-core: make test-browser",
    ),
    pytest.mark.skipif(NODE is None, reason="no node on this machine"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
SHAPES = {"images": (60, 80), "volumes": (12, 20, 24)}


def made_page(folder: Path, shape: tuple[int, ...], patch: pytest.MonkeyPatch) -> Path:
    """The page of a project of three methods, with tables of comparisons that are made up."""
    from segtrace import datasets

    folder.mkdir()
    patch.chdir(folder)
    methods = ("alpha", "beta", "a_method_with_a_long_name")
    project = Project(methods=methods, seeds=(0, 1), cases=6, shape=shape)
    patch.setattr(datasets, "reader", project.reader)
    assert main(["compare", "toy"]) == 0
    fill_tables(methods)
    assert main(["report", "toy"]) == 0
    return layout.report("toy").resolve()


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the script found on each page: page, check, passed, figure."""
    modules = Path(MODULES).resolve()
    pages = PAGES
    if not pages:
        folder = tmp_path_factory.mktemp("pages")
        with pytest.MonkeyPatch.context() as patch:
            pages = [made_page(folder / name, shape, patch) for name, shape in SHAPES.items()]
    out = modules / "found.json"
    out.unlink(missing_ok=True)
    words = [str(NODE), str(SCRIPT), str(out), str(modules), str(CHROMIUM), *map(str, pages)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    (modules / "table.md").write_text(table(found), encoding="utf-8")
    print((modules / "table.md").read_text(encoding="utf-8"))
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The findings in Markdown, a row a check, a column a page."""
    pages = list(dict.fromkeys(row["page"] for row in found))
    at = {(row["page"], row["check"]): row for row in found}
    # Of a page that was made here its project's folder, of a page that was named its experiment.
    names = [Path(page).parts[-2 if PAGES else -4] if page else "" for page in pages]
    lines = ["| check | " + " | ".join(names) + " |", "|---" * (len(pages) + 1) + "|"]
    for name in dict.fromkeys(row["check"] for row in found):
        cells = [
            f"{'' if row['passed'] else 'FAILED: '}{row['figure'] or 'yes'}"
            if (row := at.get((page, name)))
            else ""
            for page in pages
        ]
        lines.append(f"| {name} | " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def test_pages_hold_what_they_promise_in_a_real_browser(judged):
    failed = [row for row in judged if not row["passed"]]
    assert not failed, "\n".join(f"{row['page']}: {row['check']}: {row['figure']}" for row in failed)


def test_the_script_judged_every_page_whole(judged):
    checks: dict[str, set[str]] = {}
    for row in judged:
        checks.setdefault(row["page"], set()).add(row["check"])
    assert len(checks) == (len(PAGES) or len(SHAPES))
    for found in checks.values():
        assert sum(name.startswith("axe-core") for name in found) == 6
        assert {"no console error", "no request leaves the page", "first paint"} <= found
