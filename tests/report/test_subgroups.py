"""The page's section of subgroups: there where cases are of several classes, and linked to its table."""

import re
from pathlib import Path

from segtrace import layout, tables
from segtrace.cli import main
from segtrace.config import load
from segtrace.trace import jobs
from segtrace.trace.explain import pages
from segtrace.trace.explain.facts import Facts


def page() -> str:
    assert main(["compare", "toy"]) == 0
    assert main(["report", "toy"]) == 0
    return Path("reports/toy/index.html").read_text()


def test_the_section_is_there_with_several_classes_alone(make_project):
    make_project(shape=(20, 24), pictures=False)
    assert 'id="subgroups"' not in page()
    cases = tables.read("cases", layout.cases("toy"))
    cases["group"] = ["benign" if place % 2 else "malignant" for place in range(len(cases))]
    tables.write("cases", cases, layout.cases("toy"))
    text = page()
    section = text[text.index('<section id="subgroups"') :].split("</section>")[0]
    rows = re.findall(r'<tr><th scope="row">(\w+)</th><td>(\w+)</td>', section)
    assert rows[:4] == [(name, method) for name in ("benign", "malignant") for method in ("alpha", "beta")]
    links = re.findall(r'data-row="([^"]+)" data-table="subgroups"', section)
    written = tables.read("subgroups", layout.results("toy") / "subgroups.csv")
    keys = {
        f"method={r.method},label={r.label},metric={r.metric},subgroup={r.subgroup}"
        for r in written.itertuples()
    }
    assert links
    assert set(links) <= keys
    drawn = {element.name for element in pages.elements(Path("reports/toy/index.html"))}
    assert {"subgroups-0", "subgroups-1", "subgroups-2"} <= drawn
    (element,) = [e for e in pages.elements(Path("reports/toy/index.html")) if e.name == "subgroups-1"]
    source = pages.source(element, "toy", Facts(load.main_config()))
    assert source.files == ["results/toy/subgroups.csv"]
    assert len(source.numbers) == sum(written["label"] == 1)
    assert Path("results/toy/subgroups.csv") in jobs.outputs(jobs.Job("compare", "toy"))
