"""What the page offers to a paper's author: published values, a methods text, and each table as text."""

from collections.abc import Sequence
from typing import Any

from segtrace.report import exports, methods_text, published
from segtrace.report.scores import Results
from segtrace.report.subject import Subject


def sections(
    subject: Subject, results: Results, runs: Sequence[dict[str, Any]], drawn: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Name of a section → what it shows, empty where it has nothing to show; its charts go to ``drawn``."""
    drawn |= published.charts(subject, results)
    return {
        "published": published.section(subject, results),
        "methods": methods_text.section(subject, results, runs),
        "exports": exports.section(subject, results),
    }


def files(subject: Subject, results: Results, runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Name below the page's folder → text, of all files that stand beside the page for a paper."""
    return exports.contents(subject, results) | methods_text.contents(subject, results, runs)
