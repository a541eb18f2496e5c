"""The ids of cases and their subjects: the names that files have, or made-up ones where these may say who it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from segtrace.datasets import _names

#: Folders with other names than a word and a number are subjects only if there are so many: fewer may be classes.
SUBJECT_FOLDERS = 5
#: A split has three sides: fewer subjects than this cannot be told apart from a constant part of the names.
FEWEST_SUBJECTS = 3
_FIRST_NUMBER = re.compile(r"\D*\d+")


@dataclass(frozen=True)
class Naming:
    """Key of a case (its folder and shared name) → id, and how the subject is read from an id."""

    ids: dict[str, str]
    subject: str | None = None
    """The readers' option ``subject``; None where each case is its own."""
    kept: bool = True
    private: dict[str, str] = field(default_factory=dict)
    """Made-up id → what it stands for."""
    notes: list[str] = field(default_factory=list)


def name_cases(keys: Sequence[str], *, keep: bool = False) -> Naming:
    """Ids for cases. ``keep`` keeps the names whatever they hold; what an id cannot hold is still replaced."""
    keys = sorted(keys)
    subjects = _subjects(keys)
    ids, pattern = _kept(keys, subjects)
    told = [key.replace("/", "-") for key in keys]
    reason = _names.identifying(told) or _names.identifying(ids.values())
    if len(set(ids.values())) < len(keys) or not all(ids.values()):
        unusable = "some differ in signs alone that an id cannot hold"
    else:
        unusable = ""
    grouped = len(set(subjects.values())) if subjects else 0
    told_subjects = (
        f"{grouped} subjects, by {'their folders' if _by_folder(keys) else 'the first number of the names'}"
        if subjects
        else "each case is taken as its own subject"
    )
    if unusable or (reason and not keep):
        return _renamed(keys, subjects, [f"names are not kept: {unusable or reason}", told_subjects])
    shared = sorted(set().union(*(_names.words(key) for key in keys)))
    notes = [
        f"names are kept; the words in them: {', '.join(shared[:12]) or 'none'}"
        if not keep
        else "names are kept, as asked"
    ]
    if pattern is not None:
        notes.append(f"{told_subjects} (options.subject: {pattern!r})")
    else:
        notes.append(told_subjects)
    return Naming(ids, pattern, notes=notes)


def _kept(keys: Sequence[str], subjects: dict[str, str]) -> tuple[dict[str, str], str | None]:
    """Ids made of the names, and the pattern that finds the subject in them."""
    if subjects and _by_folder(keys):
        parts = {key: key.split("/", 1) for key in keys}
        ids = {
            key: _names.plain(folder).replace("-", "_") + "-" + _names.plain(rest).replace("-", "_")
            for key, (folder, rest) in parts.items()
        }
        return ids, "([^-]+)-"
    return {key: _names.plain(key) for key in keys}, r"\D*\d+" if subjects else None


def _renamed(keys: Sequence[str], subjects: dict[str, str], notes: list[str]) -> Naming:
    width = max(4, len(str(len(keys))))
    private: dict[str, str] = {}
    if not subjects:
        ids = {key: f"case_{number:0{width}d}" for number, key in enumerate(keys, 1)}
        return Naming(ids, None, False, {new: old for old, new in ids.items()}, notes)
    order = {subject: f"subj_{n:03d}" for n, subject in enumerate(sorted(set(subjects.values())), 1)}
    ids = {key: f"{order[subjects[key]]}-case_{number:0{width}d}" for number, key in enumerate(keys, 1)}
    private = {new: old for old, new in order.items()} | {new: old for old, new in ids.items()}
    return Naming(ids, "([^-]+)-", False, private, notes)


def _by_folder(keys: Sequence[str]) -> bool:
    """Whether the first folder of every case's name is a subject."""
    if not all("/" in key for key in keys):
        return False
    folders = {key.split("/", 1)[0] for key in keys}
    numbered = all(_FIRST_NUMBER.fullmatch(folder) for folder in folders)
    alike = len({re.sub(r"\d+", "", folder) for folder in folders}) == 1
    return len(folders) >= (FEWEST_SUBJECTS if numbered and alike else SUBJECT_FOLDERS)


def _subjects(keys: Sequence[str]) -> dict[str, str]:
    """Key → its subject, where several cases have one in common; nothing otherwise."""
    if _by_folder(keys):
        found = {key: key.split("/", 1)[0] for key in keys}
    else:
        plain = {key: _names.plain(key) for key in keys}
        several = sum(len(re.findall(r"\d+", name)) > 1 for name in plain.values())
        matches = {key: _FIRST_NUMBER.match(name) for key, name in plain.items()}
        if several < len(keys) or not all(matches.values()):
            return {}
        found = {key: match[0] for key, match in matches.items() if match}
    return found if FEWEST_SUBJECTS <= len(set(found.values())) < len(keys) else {}
