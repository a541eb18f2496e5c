"""Text with citations, and its three forms: plain, Markdown and LaTeX."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segtrace.report import latex
from segtrace.report.citations import Entry

# Marks of a citation within text: control characters, which no configuration holds.
_OPEN, _CLOSE = "\x02", "\x03"
_CITED = re.compile(f" ?{_OPEN}([^{_CLOSE}]*){_CLOSE}")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: its heading, and its sentences."""

    heading: str
    sentences: Sequence[str]


def cite(*entries: Entry | None) -> str:
    """A mark that cites ``entries`` in text; nothing where there are none."""
    keys = [entry.key for entry in entries if entry is not None]
    return f" {_OPEN}{','.join(keys)}{_CLOSE}" if keys else ""


def cited(paragraphs: Iterable[Paragraph]) -> list[str]:
    """The keys of all that is cited, in the order in which it comes first."""
    marks = (match[1] for p in paragraphs for match in _CITED.finditer(" ".join(p.sentences)))
    return list(dict.fromkeys(key for mark in marks for key in mark.split(",")))


def sentence(text: str) -> str:
    """Text as one sentence: a capital first, unless a name such as nnU-Net stands there, and a full stop last."""
    told = " ".join(text.split(" ")).strip()
    if told.split(" ", 1)[0].islower():
        told = told[:1].upper() + told[1:]
    return told if told.endswith((".", "!", "?")) else told + "."


def listed(words: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def counted(number: int, word: str) -> str:
    """'1 case', '2 cases'."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def plain(paragraphs: Sequence[Paragraph], entries: Mapping[str, Entry]) -> str:
    """Plain text; citations are numbers, in the order in which they come, listed at the end."""
    order: dict[str, int] = {}

    def numbers(match: re.Match[str]) -> str:
        return f" [{', '.join(str(order.setdefault(key, len(order) + 1)) for key in match[1].split(','))}]"

    texts = [f"{p.heading}. {_CITED.sub(numbers, ' '.join(p.sentences))}" for p in paragraphs]
    references = [f"[{number}] {entries[key].words}" for key, number in order.items()]
    return "\n\n".join([*texts, *(["References\n" + "\n".join(references)] if references else [])]) + "\n"


def markdown(paragraphs: Sequence[Paragraph]) -> str:
    """Markdown; citations in Pandoc's form, ``[@key]``, for the BibTeX file beside it."""

    def keys(match: re.Match[str]) -> str:
        return f" [{'; '.join('@' + key for key in match[1].split(','))}]"

    texts = []
    for paragraph in paragraphs:
        parts = _parts(" ".join(paragraph.sentences))
        texts.append("".join(_CITED.sub(keys, part) if cited else _escaped(part) for part, cited in parts))
    return (
        "\n\n".join(f"**{_escaped(p.heading)}.** {text}" for p, text in zip(paragraphs, texts, strict=True))
        + "\n"
    )


def tex(paragraphs: Sequence[Paragraph]) -> str:
    r"""LaTeX: one ``\paragraph`` each; citations are ``\cite``."""

    def keys(match: re.Match[str]) -> str:
        return f"~\\cite{{{match[1]}}}"

    made = []
    for paragraph in paragraphs:
        parts = _parts(" ".join(paragraph.sentences))
        text = "".join(_CITED.sub(keys, part) if cited else _spaced(part) for part, cited in parts)
        made.append(f"\\paragraph{{{latex.escaped(paragraph.heading)}.}} {text}")
    return "\n\n".join(made) + "\n"


def _parts(text: str) -> list[tuple[str, bool]]:
    """The text taken apart: (part, whether it is a citation)."""
    made, place = [], 0
    for match in _CITED.finditer(text):
        made += [(text[place : match.start()], False), (match[0], True)]
        place = match.end()
    return [*made, (text[place:], False)]


def _spaced(part: str) -> str:
    """A part escaped for LaTeX, with the blanks at its ends."""
    lead, trail = (" " if part[:1] == " " else ""), (" " if part.strip() and part[-1:] == " " else "")
    return f"{lead}{latex.escaped(part)}{trail}"


def _escaped(part: str) -> str:
    """A part that Markdown shows as it stands."""
    return re.sub(r"([\\`*_\[\]<>#|~@$])", r"\\\1", part)
