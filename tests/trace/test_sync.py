"""sync judges the runs that it is asked about, and advises with the options that are needed."""

from pathlib import Path

import pytest

from segtrace.cli import main
from segtrace.config import load
from segtrace.options import words_of
from segtrace.trace import check, tools

ROOT = Path(__file__).parents[2]


def test_options_are_written_as_the_workflow_and_as_a_command_take_them() -> None:
    given = {"experiments": ["a", "b"], "seeds": "0,1", "budget": None}
    assert words_of(given) == ["experiments=a,b", "seeds=0,1"]
    assert words_of(given, dashes="--") == ["--experiments", "a,b", "--seeds", "0,1"]


def test_the_advice_names_what_differs_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check._given(load.main_config()) == []
    assert check._given(load.main_config({"seeds": "0,3"})) == ["--seeds", "0,3"]


def test_the_workflow_is_told_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(tools, "call", lambda *words, **_: called.append(words))
    monkeypatch.setattr(tools, "has_dvc", lambda: False)
    monkeypatch.setattr(check, "broken", lambda made, config: [])
    monkeypatch.setattr("segtrace.trace.aside.drop_pages", lambda config: None)
    assert main(["sync", "--experiments", "demo_2d", "--seeds", "0,1"]) == 0
    assert len(called) == 2
    for words in called:
        place = words.index("--config")
        assert words[place + 1 : place + 3] == ("experiments=demo_2d", "seeds=0,1")
