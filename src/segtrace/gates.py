"""Gates: what a whole data set must look like, judged by Great Expectations.

A gate is a list of named expectations over a table with one row a case (or a case and label). It gives
two things: ``gate.json``, small and deterministic, which the workflow waits for; and Data Docs, HTML
pages for people, which carry times and are never compared. Great Expectations takes seconds to import,
so it is imported only when a gate is judged. Nothing is sent anywhere: its analytics are switched off,
and its context lives in memory.
"""

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace.errors import SegtraceError, raise_all

#: At most so many cases of a failed expectation are kept in ``gate.json`` and shown in a message.
SHOWN = 20


@dataclass(frozen=True)
class Expectation:
    """One named demand on a table: a Great Expectations type and its arguments."""

    name: str
    kind: str
    """For example ``expect_column_values_to_be_between``."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of an expectation. ``observed`` is a number, or the count and the rows that fail."""

    name: str
    passed: bool
    expected: Any
    observed: Any


def between(name: str, column: str, low: float | None, high: float | None) -> Expectation:
    """Every known value of ``column`` lies in [low, high]; an open end is None. Unknown values pass."""
    ends = {key: value for key, value in (("min_value", low), ("max_value", high)) if value is not None}
    return Expectation(name, "expect_column_values_to_be_between", {"column": column, **ends})


def mean_between(name: str, column: str, low: float, high: float) -> Expectation:
    """The mean of ``column`` lies in [low, high]: with 0 and 1 in the column, a fraction."""
    return Expectation(
        name, "expect_column_mean_to_be_between", {"column": column, "min_value": low, "max_value": high}
    )


def sum_between(name: str, column: str, low: float, high: float) -> Expectation:
    """The sum of ``column`` lies in [low, high]: with 0 and 1 in the column, a number of cases."""
    return Expectation(
        name, "expect_column_sum_to_be_between", {"column": column, "min_value": low, "max_value": high}
    )


def one_of(name: str, column: str, values: Sequence[str]) -> Expectation:
    """Every value of ``column`` is one of ``values``."""
    return Expectation(
        name, "expect_column_values_to_be_in_set", {"column": column, "value_set": list(values)}
    )


def row_count(name: str, low: int, high: int) -> Expectation:
    """The table has between ``low`` and ``high`` rows."""
    return Expectation(name, "expect_table_row_count_to_be_between", {"min_value": low, "max_value": high})


def unique(name: str, column: str) -> Expectation:
    """No value of ``column`` occurs twice."""
    return Expectation(name, "expect_column_values_to_be_unique", {"column": column})


def judge(
    rows: Sequence[Mapping[str, Any]], expectations: Sequence[Expectation], *, title: str, docs: Path
) -> list[Result]:
    """Judge ``rows`` by ``expectations``, in their order, and write Data Docs into the folder ``docs``.

    Every row has a ``case``, which names it where an expectation about values fails. The pages replace
    earlier ones whether the gate passes or not. An expectation that cannot be judged (a missing
    column) is a :class:`SegtraceError`: a fault of the gate, never a pass.
    """
    if not rows:
        raise SegtraceError(f"{title}: there is nothing to judge: the table has no rows")
    names = [expectation.name for expectation in expectations]
    if len(set(names)) != len(names):
        raise ValueError(f"{title}: two expectations have one name: {sorted(names)}")
    docs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=docs.parent, prefix=f".{docs.name}.") as folder:
        outcome = _run(rows, expectations, title=title, folder=Path(folder) / "pages")
        shutil.rmtree(docs, ignore_errors=True)
        (Path(folder) / "pages").replace(docs)
    found = {item.expectation_config.meta["name"]: item for item in outcome}
    return [_result(expectation, found[expectation.name], title=title) for expectation in expectations]


def _run(
    rows: Sequence[Mapping[str, Any]], expectations: Sequence[Expectation], *, title: str, folder: Path
) -> list[Any]:
    """Run the suite over ``rows`` with Great Expectations; its pages go to ``folder``."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    frame, title = pd.DataFrame(list(rows)), title.replace("/", " ")  # its pages are files named by the title
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for site in list(context.list_data_docs_sites()):
        context.delete_data_docs_site(site)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
    context.add_data_docs_site(
        site_name="pages",
        site_config={
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": store,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    asset = context.data_sources.add_pandas("segtrace").add_dataframe_asset(title)
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(
        ExpectationSuite(
            name=title,
            expectations=[
                ExpectationConfiguration(
                    type=expectation.kind,
                    kwargs=dict(expectation.arguments),
                    meta={"name": expectation.name},
                    notes=expectation.name,
                ).to_domain_obj()
                for expectation in expectations
            ],
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=title, data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=title,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="pages", site_names=["pages"])],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["case"]},
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    return [item for run in outcome.run_results.values() for item in run.results]


def _result(expectation: Expectation, item: Any, *, title: str) -> Result:
    """A Great Expectations result in its small, deterministic form."""
    raised = item.exception_info or {}
    if raised.get("raised_exception") or any(
        isinstance(value, Mapping) and value.get("raised_exception") for value in raised.values()
    ):
        messages = [raised.get("exception_message")] + [
            value.get("exception_message") for value in raised.values() if isinstance(value, Mapping)
        ]
        raise SegtraceError(
            f"{title}: {expectation.name!r} cannot be judged: {next(m for m in messages if m)}"
        )
    detail = item.result
    column = expectation.arguments.get("column")
    observed: Any
    if "observed_value" in detail:
        observed = _plain(detail["observed_value"])
    else:
        failed = [
            {"case": str(row["case"]), "value": _plain(row[column])}
            for row in (detail.get("unexpected_index_list") or [])
        ]
        failed.sort(key=lambda row: (row["case"], str(row["value"])))
        observed = {
            "judged": int(detail["element_count"]) - int(detail.get("missing_count") or 0),
            "failed": int(detail["unexpected_count"]),
            "cases": failed[:SHOWN],
        }
    expected = {key: _plain(value) for key, value in expectation.arguments.items()}
    return Result(expectation.name, bool(item.success), expected, observed)


def _plain(value: Any) -> Any:
    """A value as JSON: numpy scalars as Python's, what is no number as null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(results: Sequence[Result], *, title: str) -> dict[str, Any]:
    """The content of ``gate.json``: expectation → passed, expected, observed. It holds no time or path."""
    return {
        "gate": title,
        "passed": all(result.passed for result in results),
        "expectations": {
            result.name: {"passed": result.passed, "expected": result.expected, "observed": result.observed}
            for result in results
        },
    }


def describe(result: Result) -> str:
    """One line on a result: what was expected and what was found."""
    ends = [result.expected.get("min_value"), result.expected.get("max_value")]
    if ends == [None, None]:
        values = result.expected.get("value_set")
        wanted = f"one of {', '.join(values)}" if values else "no value twice"
    else:
        wanted = " to ".join("any" if end is None else f"{end:g}" for end in ends)
    if isinstance(result.observed, Mapping):
        rows = result.observed["cases"]
        listed = ", ".join(f"{row['case']} ({row['value']})" for row in rows)
        more = result.observed["failed"] - len(rows)
        found = f"{result.observed['failed']} of {result.observed['judged']} fail: {listed}"
        found += f" and {more} more" if more > 0 else ""
    else:
        found = f"found {result.observed}"
    return f"{result.name}: expected {wanted}, {found}"


def require(results: Sequence[Result], *, heading: str, remedy: str) -> None:
    """Raise one :class:`SegtraceError` that lists every failed expectation; nothing if all pass."""
    raise_all([describe(result) for result in results if not result.passed], heading=heading, remedy=remedy)
