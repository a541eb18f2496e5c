"""Citations as BibTeX, from configuration: what an experiment's text cites, each under one key.

Where configuration holds a free reference alone (a data set's ``reference``, a method's ``source``), its entry is a
``@misc`` whose note is that text, with its DOI where the text names one. The bibliographic facts of the statistical
methods and metrics stand here, for the text names them wherever an experiment is compared.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segtrace import __version__
from segtrace.config import load, models
from segtrace.report import latex
from segtrace.report.subject import Subject

#: The file in which segtrace says how it is cited.
CITATION = Path("CITATION.cff")


@dataclass(frozen=True)
class Entry:
    """One entry of a bibliography: its kind, its key, and its fields as plain text."""

    key: str
    kind: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The entry as one line for reading."""
        names = (
            "author",
            "title",
            "journal",
            "howpublished",
            "note",
            "volume",
            "pages",
            "year",
            "doi",
            "url",
        )
        told = [_read(name, self.fields[name]) for name in names if self.fields.get(name)]
        return ". ".join(text.rstrip(".") for text in told) + "."


def _read(name: str, text: str) -> str:
    """A field for reading."""
    match name:
        case "author":
            return re.sub(r" and (?![^{]*\})", "; ", re.sub(r" and others$", " et al.", text)).translate(
                _BRACES
            )
        case "pages":
            return text.replace("-", "–")
        case "doi":
            return f"doi:{text}"
    return text


_BRACES = str.maketrans("", "", "{}")

#: Key → entry of the methods that segtrace's tables use.
STATISTICS = {
    entry.key: entry
    for entry in (
        Entry(
            "efron1987bca",
            "article",
            {
                "author": "Efron, Bradley",
                "title": "Better bootstrap confidence intervals",
                "journal": "Journal of the American Statistical Association",
                "volume": "82",
                "pages": "171-185",
                "year": "1987",
                "doi": "10.1080/01621459.1987.10478410",
            },
        ),
        Entry(
            "wilcoxon1945",
            "article",
            {
                "author": "Wilcoxon, Frank",
                "title": "Individual comparisons by ranking methods",
                "journal": "Biometrics Bulletin",
                "volume": "1",
                "pages": "80-83",
                "year": "1945",
                "doi": "10.2307/3001968",
            },
        ),
        Entry(
            "holm1979",
            "article",
            {
                "author": "Holm, Sture",
                "title": "A simple sequentially rejective multiple test procedure",
                "journal": "Scandinavian Journal of Statistics",
                "volume": "6",
                "pages": "65-70",
                "year": "1979",
            },
        ),
        Entry(
            "kendall1938",
            "article",
            {
                "author": "Kendall, Maurice G.",
                "title": "A new measure of rank correlation",
                "journal": "Biometrika",
                "volume": "30",
                "pages": "81-93",
                "year": "1938",
                "doi": "10.1093/biomet/30.1-2.81",
            },
        ),
        Entry(
            "wiesenfarth2021challenger",
            "article",
            {
                "author": "Wiesenfarth, Manuel and Reinke, Annika and Landman, Bennett A. and others",
                "title": "Methods and open-source toolkit for analyzing and visualizing challenge results",
                "journal": "Scientific Reports",
                "volume": "11",
                "pages": "2369",
                "year": "2021",
                "doi": "10.1038/s41598-021-82017-6",
            },
        ),
        Entry(
            "reinke2024pitfalls",
            "article",
            {
                "author": "Reinke, Annika and Tizabi, Minu D. and Baumgartner, Michael and others",
                "title": "Understanding metric-related pitfalls in image analysis validation",
                "journal": "Nature Methods",
                "volume": "21",
                "pages": "182-194",
                "year": "2024",
                "doi": "10.1038/s41592-023-02150-0",
            },
        ),
        Entry(
            "nikolov2021surface",
            "article",
            {
                "author": "Nikolov, Stanislav and Blackwell, Sam and Zverovitch, Alexei and others",
                "title": "Clinically applicable segmentation of head and neck anatomy for radiotherapy: deep learning "
                "algorithm development and validation study",
                "journal": "Journal of Medical Internet Research",
                "volume": "23",
                "pages": "e26151",
                "year": "2021",
                "doi": "10.2196/26151",
            },
        ),
    )
}


def software() -> Entry:
    """segtrace's own entry: what ``CITATION.cff`` says, or its name and version where that file is not there."""
    told = load.read_yaml(CITATION) if CITATION.is_file() else {}
    people = [_person(person) for person in told.get("authors", [])]
    fields = {
        "author": " and ".join(people),
        "title": str(told.get("title", "segtrace")),
        "note": f"Version {__version__}",
        "year": str(told.get("date-released", ""))[:4],
        "doi": str(told.get("doi", "")),
        "url": str(told.get("url") or told.get("repository-code") or ""),
    }
    return Entry("segtrace", "misc", {name: text for name, text in fields.items() if text})


def _person(person: Mapping[str, str]) -> str:
    """An author of a citation file; a name in one piece is kept whole by braces."""
    if person.get("name"):
        return f"{{{person['name']}}}"
    return f"{person.get('family-names', '')}, {person.get('given-names', '')}".strip(", ")


def paper(name: str) -> Entry:
    """The entry of a paper of ``config/papers``."""
    told: models.Paper = load.load("papers", name)
    fields = {
        "author": " and ".join(told.authors),
        "title": told.title,
        "year": str(told.year or ""),
        "howpublished": told.venue,
        "url": told.url,
    }
    return Entry(
        f"paper-{name}".replace("_", "-"), "misc", {key: text for key, text in fields.items() if text}
    )


def free(key: str, *, title: str, reference: str, url: str = "") -> Entry:
    """An entry from a free reference: ``@misc`` with the text as its note, and the DOI and year that it names."""
    doi = re.search(r"\b10\.\d{4,9}/[^\s,;\"}]+", reference)
    year = re.search(r"\((?:19|20)(\d\d)\)|\b((?:19|20)\d\d)\b(?!/)", reference)
    fields = {
        "title": title,
        "note": " ".join(reference.split()),
        "year": year[0].strip("()") if year else "",
        "doi": doi[0].rstrip(".)") if doi else "",
        "url": url,
    }
    return Entry(key, "misc", {name: text for name, text in fields.items() if text})


def dataset(subject: Subject) -> Entry | None:
    """The entry of the data set; None where configuration names neither a reference nor a home."""
    told = subject.dataset
    if not (told.reference or told.homepage):
        return None
    key = f"data-{subject.experiment.dataset}".replace("_", "-")
    return free(key, title=told.title, reference=told.reference, url=told.homepage)


def method(name: str, configured: models.Method) -> Entry | None:
    """The entry of a method's source; None where configuration names none."""
    if not configured.source:
        return None
    return free(f"method-{name}".replace("_", "-"), title=configured.title, reference=configured.source)


def bibtex(entries: Iterable[Entry]) -> str:
    """Entries as a BibTeX file, sorted by key, everything escaped for LaTeX."""
    found = {entry.key: entry for entry in entries}
    return "\n".join(_bibtex(found[key]) for key in sorted(found))


def _bibtex(entry: Entry) -> str:
    lines = [f"@{entry.kind}{{{entry.key},"]
    for name, text in entry.fields.items():
        # a title in double braces keeps its capitals; addresses stay as they are, for \\url and hyperref read them
        if name in ("url", "doi"):
            value = re.sub(r"[{}\s]", "", text)
        elif name == "author":
            value = _authors(text)
        elif name == "pages":
            value = text.replace("-", "--")
        else:
            value = latex.escaped(text)
        lines.append(
            f"  {name} = {{{'{' if name == 'title' else ''}{value}{'}' if name == 'title' else ''}}},"
        )
    return "\n".join([*lines, "}"]) + "\n"


def _authors(text: str) -> str:
    """Authors with each name escaped; the braces of a name in one piece stay."""
    people = re.split(r" and (?![^{]*\})", text)
    return " and ".join(
        f"{{{latex.escaped(name[1:-1])}}}" if name.startswith("{") else latex.escaped(name) for name in people
    )
