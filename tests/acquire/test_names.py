import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrace.acquire.names import Names, UnsafeNameError, is_apple_double, readable, relative_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute path"),
        ("//server/share", "absolute path"),
        ("C:/Windows/x", "drive letter"),
        ("c:x", "drive letter"),
        ("../x", r"'\.\.'"),
        ("a/../../x", r"'\.\.'"),
        ("a/..", r"'\.\.'"),
        ("..\\x", "backslash"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x1b[31m", "control"),
        ("", "empty"),
        ("a/" + "x" * 256, "too long"),
        ("é" * 128, "too long"),
        ("a/" * 1100, "too long"),
        ("\ud800", "no text"),
    ],
)
def test_unsafe_names_are_refused_with_their_reason(name: str, reason: str) -> None:
    with pytest.raises(UnsafeNameError, match=reason):
        relative_path(name)


def test_harmless_spellings_become_one() -> None:
    assert relative_path("./a//b/./c (1).png") == "a/b/c (1).png"
    assert relative_path("a/b/") == "a/b"
    assert relative_path("./") == ""
    assert relative_path("...") == "..."
    assert relative_path("a..b/..c") == "a..b/..c"


pieces = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "a", "B", "C:", "\x00", " ", "é", "~", "_", "\ud8ff"])
)


@given(pieces.map("".join) | st.text())
def test_a_path_that_is_accepted_stays_below_the_target(name: str) -> None:
    try:
        path = relative_path(name)
    except UnsafeNameError:
        return
    below = os.path.normpath(os.path.join("/target", path))
    assert below == "/target" or below.startswith("/target/")
    assert ".." not in path.split("/")
    assert relative_path(path or ".") == path, "accepting a path twice changes nothing"
    assert path.encode("utf-8").decode("utf-8") == path


@given(st.binary(min_size=1))
def test_bytes_that_are_no_utf8_become_text_in_one_way(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    text = readable(name)
    assert text.encode("utf-8")
    assert readable(text) == text
    if max(name, default=" ") < "\udc80":
        assert text == name


@given(st.lists(st.text(alphabet="aAbBßéÉſ\u0301", min_size=1, max_size=4), max_size=6))
def test_no_two_accepted_names_meet_where_case_and_form_do_not_count(names: list[str]) -> None:
    taken, kept = Names(), []
    for name in names:
        try:
            taken.add_file(name)
        except UnsafeNameError:
            continue
        kept.append(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()))
    assert len(kept) == len(set(kept))
    assert bool(kept) == bool(names)


def test_names_that_meet_are_refused() -> None:
    taken = Names()
    taken.add_file("a/b.png")
    for path, reason in {
        "a/b.png": "occurs twice",
        "a/B.PNG": "case",
        "a": "name of the folder",
        "A/c.png": "folder differs from 'a' in case",
        "a/b.png/c": "name of the file",
    }.items():
        with pytest.raises(UnsafeNameError, match=reason):
            taken.add_file(path)
    taken.add_folder("a")
    taken.add_file("a/c.png")


def test_apple_double() -> None:
    assert is_apple_double("a/._b.nii.gz")
    assert is_apple_double("__MACOSX/a/b")
    assert is_apple_double("._a/b")
    assert not is_apple_double("a/_b.nii.gz")
    assert not is_apple_double("a/.b")
