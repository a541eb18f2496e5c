"""Each table of the page for a paper: LaTeX and Markdown, with a caption that says what the numbers are.

Only what the experiment's tables hold is written: means and intervals, paired tests, ranks, other ways of averaging,
published values beside recomputed ones. Of long tables (tests, ranks) the first metrics are written; the CSV
files beside them hold all.
"""

from typing import Any

from segtrace.report import export_sheets, latex, sheets
from segtrace.report.scores import Results
from segtrace.report.sheets import Sheet
from segtrace.report.subject import Subject

#: Where exported tables lie, beside the page.
FOLDER = "tables"
ENDINGS = {"tex": latex.table, "md": sheets.markdown}
#: Tables of more rows are offered as files alone: as text to copy they would make the page long.
COPIED_ROWS = 60


def section(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """What the page offers of each table: title, links relative to the page, and texts to copy."""
    made = []
    for sheet in exported(subject, results):
        texts = (
            {ending: write(sheet) for ending, write in ENDINGS.items()} if sheet.count <= COPIED_ROWS else {}
        )
        made.append(
            {
                "name": sheet.name,
                "title": sheet.title,
                "rows": sheet.count,
                "links": {ending: f"{FOLDER}/{sheet.name}.{ending}" for ending in ENDINGS},
                "csv": f"../../results/{subject.name}/{sheet.csv}",
                "texts": texts,
            }
        )
    return made


def contents(subject: Subject, results: Results) -> dict[str, str]:
    """File below the page's folder → its text, of all exported tables."""
    return {
        f"{FOLDER}/{sheet.name}.{ending}": write(sheet)
        for sheet in exported(subject, results)
        for ending, write in ENDINGS.items()
    }


def exported(subject: Subject, results: Results) -> list[Sheet]:
    """All tables of an experiment that hold something, in the page's order."""
    made = [export_sheets.summary(subject, results, label) for label in subject.labels]
    for label in subject.labels:
        for metric in export_sheets.shown_metrics(results):
            made.append(export_sheets.tests(subject, results, label, metric))
            made.append(export_sheets.ranks(subject, results, label, metric))
    made += [export_sheets.aggregates(subject, results, label) for label in subject.labels]
    made.append(export_sheets.published(subject, results))
    return [sheet for sheet in made if sheet.count]
