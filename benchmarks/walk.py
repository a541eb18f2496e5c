"""Walk every number of an experiment's tables back to the raw files; run in a project's root.

    python benchmarks/walk.py EXPERIMENT

Ends with an error at the first link that does not hold; prints how many numbers were walked.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from segtrace import layout
from segtrace.config import load
from segtrace.files import read_json
from segtrace.trace import cells, dotted, jobs
from segtrace.trace.explain import chain
from segtrace.trace.explain.facts import Facts


def numbers(table: Path) -> Iterator[tuple[str, str | None]]:
    """(line, column) of every cell of a CSV table; (path of keys, None) of every value of a JSON file."""
    if table.suffix == ".json":
        for path in dotted.leaves(read_json(table)):
            yield path, None
        return
    with table.open(newline="") as handle:
        for line, row in enumerate(csv.DictReader(handle), 2):
            for column in row:
                yield str(line), column


def main(experiment: str) -> None:
    """Walk the experiment's own tables whole, and of each table below it every number of its first rows."""
    config = load.main_config({"experiments": experiment})
    facts, count = Facts(config), 0
    folder = layout.results(experiment)
    whole = {folder / name for name in ("summary.csv", "metrics.json")}
    for job in jobs.configured(config):
        for table in jobs.outputs(job):
            if table.suffix not in (".csv", ".json"):
                continue
            for place, (row, column) in enumerate(numbers(table)):
                if table not in whole and place >= ROWS:
                    break
                found = chain.explain(cells.select(table, row=row, column=column), facts)
                if not found["holds"] or found["steps"][-1]["phase"] != "acquire":
                    sys.exit(f"{table} {row} {column}: {found['broken']}")
                count += 1
    print(f"numbers walked: {count}")


#: Numbers of a long table (per case) that are walked one by one; every one has the same kind of chain.
ROWS = 500

if __name__ == "__main__":
    main(sys.argv[1])
