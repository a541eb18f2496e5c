"""Progress in a log: few lines, a smoothed rate, a time left that earlier sessions do not falsify."""

import math
import re
import sys

import pytest

from segtrace import progress as module
from segtrace.progress import Rate, duration, progress, significant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module.time, "monotonic", made)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return made


def test_lines_are_few_and_say_rate_memory_and_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def memory() -> str:
        asked.append(1)
        return "2.0 GiB"

    with progress("train x", 1000, unit="images", memory=memory) as bar:
        for _ in range(1000):
            clock.now += 0.1
            bar.advance(units=4, note="loss 0.5")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train x: 100/1000 loss 0.5, 40.0 images/s, 2.0 GiB (90 s left)"
    assert lines[-1] == "train x: 1000/1000 in 100.0 s"
    assert len(lines) == 11
    assert len(asked) == 10  # only when something is shown


def test_without_a_unit_the_line_is_as_short_as_before(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("fetch", 10) as bar:
        clock.now += 6
        bar.advance()
    assert capsys.readouterr().out.splitlines()[0] == "fetch: 1/10 (54 s left)"


def test_what_an_earlier_session_did_counts_for_no_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("train", 1000, done=900, unit="images") as bar:
        for _ in range(100):
            clock.now += 1
            bar.advance(units=2)
    first = capsys.readouterr().out.splitlines()[0]
    found = re.fullmatch(r"train: (\d+)/1000 2\.00 images/s \((\d+) s left\)", first)
    assert found is not None
    assert int(found[2]) == 1000 - int(found[1])


def test_the_rate_is_the_mean_at_first_and_follows_a_change() -> None:
    rate = Rate()
    assert rate.value == 0
    rate.see(5, 0.5)
    assert rate.value == pytest.approx(10)
    for _ in range(200):
        rate.see(1, 1.0)
    assert rate.value == pytest.approx(1, abs=0.01)
    for _ in range(20):
        rate.see(3, 1.0)
    assert 2 < rate.value < 3


def test_stretches_too_short_to_tell_are_added_up() -> None:
    rate = Rate()
    for _ in range(10):
        rate.see(1, 0.0)
    assert rate.value == 0
    rate.see(0, 2.0)
    assert rate.value == pytest.approx(5)


def test_a_steady_rate_is_exact_whatever_the_stretches() -> None:
    rate = Rate()
    for seconds in (0.25, 8.0, 0.5, 60.0, 0.01):
        rate.see(7 * seconds, seconds)
        assert rate.value == pytest.approx(7)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (5970, "100 min"),
        (12000, "3 h 20 min"),
        (190800, "2 d 5 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == {"100 min": "1 h 40 min"}.get(text, text)


def test_rates_have_three_digits() -> None:
    assert [significant(v) for v in (0.0, 0.02134, 4.2549, 99.99, 1830.4, math.pi * 1e5)] == [
        *("0", "0.0213", "4.25", "100.0", "1830", "314159")
    ]


def test_resident_memory_is_said() -> None:
    assert re.fullmatch(r"\d+\.\d GiB resident", module.resident_memory())
