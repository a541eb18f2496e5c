"""Which names may stand in tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrace.datasets import _names

KEPT = [
    ["p012_slice_03", "p012_slice_04", "p013_slice_01"],
    ["ISIC_0012271", "ISIC_0012272"],
    ["001", "002", "103"],
    ["img_000000", "img_000050", "img_000099", "img_000101"],
    ["case 1 (a)", "CASE 2 (A)"],
    ["v1.2.3_1", "v1.2.3_2"],
    [],
]
RENAMED = [
    ["scan_Müller_1", "scan_Schmidt_1"],
    ["scan_1", "scan_2", "Meier_3"],
    ["scan_19610512", "scan_2"],
    ["scan_12051961", "scan_2"],
    ["scan_05121961", "scan_2"],
    ["12-05-1961_a", "2_a"],
    ["1961.5.12 a", "2 a"],
    ["x_1_12.05.1961", "x_2"],
    ["120561_a", "030299_a", "7_a"],
    ["x 12-05-61", "x 03-02-99"],
    ["1.2.840.113619.2", "1.2.840.1136190000.3"],
]


@pytest.mark.parametrize("names", KEPT)
def test_names_that_say_nothing_of_a_person_are_kept(names: list[str]) -> None:
    assert _names.identifying(names) == ""


@pytest.mark.parametrize("names", RENAMED)
def test_names_with_words_of_their_own_and_dates_are_not(names: list[str]) -> None:
    reason = _names.identifying(names)
    assert reason
    assert not any(word in reason for word in ("ller", "Meier", "1961", "0512"))


@given(st.text())
def test_a_plain_name_can_be_an_id(text: str) -> None:
    name = _names.plain(text)
    assert name == "" or (name.isascii() and name[0].isalnum() and name == _names.plain(name))


def test_accents_are_dropped_not_the_letters() -> None:
    assert _names.plain("Größe (élan) 1.png") == "Grosse_elan_1.png"
