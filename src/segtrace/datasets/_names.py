"""Whether the names of cases may stand in tables: a file's name can hold a person's name or date of birth.

Names are kept only if every word in them (a run of letters) stands in the name of every case, such as ``slice`` in
``p012_slice_03``, and no number looks like a date or a record's number. What is one person's own differs between
cases; what it cannot tell is a word that all cases share, so whoever keeps names is shown the words.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_WITH_YEAR = re.compile(r"(?<!\d)(\d{1,4})[-._, ]+(\d{1,2})[-._, ]+(\d{1,4})(?!\d)")
#: Digits from which on a number is taken for a record's, a time or a part of a unique identifier.
LONG = 9
_SPECIAL = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
)


def plain(text: str) -> str:
    """``text`` in the letters, digits, dot, hyphen and underscore that an id may have; accents are dropped."""
    flat = unicodedata.normalize("NFKD", text.translate(_SPECIAL)).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", flat).strip("_.-")


def words(name: str) -> set[str]:
    """The words of a name, in lower case."""
    return {word.casefold() for word in _WORD.findall(unicodedata.normalize("NFC", name))}


def identifying(names: Iterable[str]) -> str:
    """Why these names of all cases may not be kept, without repeating any of them; empty if they may."""
    every = sorted(set(names))
    if not every:
        return ""
    found = [words(name) for name in every]
    shared = set.intersection(*found)
    own = sum(bool(each - shared) for each in found)
    if own:
        return f"{own} of {len(every)} names hold words that not all cases share"
    dated = sum(_is_dated(name) for name in every)
    if dated:
        return f"{dated} of {len(every)} names hold what looks like a date"
    if _many([_short_date(name) for name in every]):
        return "numbers in most of the names look like dates with a year of two digits"
    long = sum(any(len(n) >= LONG for n in _NUMBER.findall(name)) for name in every)
    if long:
        return f"{long} of {len(every)} names hold numbers of {LONG} digits or more, as records' numbers have"
    return ""


def _is_dated(name: str) -> bool:
    """Whether a name holds a date with a year of four digits: eight digits, or three numbers."""
    for number in _NUMBER.findall(name):
        if len(number) == 8 and (
            _day(number[:4], number[4:6], number[6:])
            or _day(number[4:], number[2:4], number[:2])
            or _day(number[4:], number[:2], number[2:4])
        ):
            return True
    for one, two, three in _groups(name):
        if len(one) == 4 and _day(one, two, three):
            return True
        if len(three) == 4 and (_day(three, two, one) or _day(three, one, two)):
            return True
    return False


def _groups(name: str) -> list[tuple[str, str, str]]:
    """All three numbers in a row of a name, overlapping ones too."""
    return [
        match.groups()  # type: ignore[misc]
        for start in (m.start() for m in _NUMBER.finditer(name))
        if (match := _WITH_YEAR.match(name, start))
    ]


def _short_date(name: str) -> bool | None:
    """Whether six digits, or three numbers of one or two, are a date; None where there are none."""
    forms = [(n[:2], n[2:4], n[4:]) for n in _NUMBER.findall(name) if len(n) == 6]
    forms += [
        group for group in _groups(name) if all(len(part) <= 2 for part in group) and len(group[2]) == 2
    ]
    if not forms:
        return None
    return any(_day(f"20{c}", b, a) or _day(f"20{c}", a, b) or _day(f"20{a:0>2}", b, c) for a, b, c in forms)


def _many(judged: Sequence[bool | None]) -> bool:
    """Whether at least half of those that could be judged are dates: counters of six digits mostly are none."""
    there = [value for value in judged if value is not None]
    return bool(there) and 2 * sum(there) >= len(there)


def _day(year: str, month: str, day: str) -> bool:
    if not 1880 <= int(year) <= 2099:
        return False
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True
