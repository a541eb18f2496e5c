"""Reading, computing and writing side by side: the same results, bounded memory, and faults with a name."""

import threading
import time

import pytest

from segtrace.errors import SegtraceError
from segtrace.predict import pipeline


def run(
    items, *, threaded=True, read=lambda n: n + 1, compute=lambda n, x: (n, x), write=lambda n, made: made
):
    return pipeline.run(
        items, read=read, compute=compute, write=write, name=lambda n: f"case {n}", threaded=threaded
    )


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_item_is_read_computed_and_written(threaded, count):
    results, problems = run(range(count), threaded=threaded)
    assert results == {n: (n, n + 1) for n in range(count)}
    assert problems == []


def test_a_case_is_computed_while_the_next_is_read_and_the_one_before_is_written():
    meeting = threading.Barrier(3, timeout=20)  # all three wait for each other, or the test fails

    def meet(present: bool) -> None:
        if present:
            meeting.wait()

    results, _ = run(
        range(3),
        read=lambda n: meet(n == 2),
        compute=lambda n, _: meet(n == 1),
        write=lambda n, _: meet(n == 0),
    )
    assert len(results) == 3


def test_no_more_than_three_cases_are_held():
    held, most = set(), []

    def read(n):
        held.add(n)
        most.append(len(held))
        return n

    def write(n, made):
        time.sleep(0.002)
        held.discard(n)

    run(range(20), read=read, write=write)
    assert max(most) == 3


@pytest.mark.parametrize("threaded", [True, False])
def test_faults_of_one_case_come_with_its_name_and_stop_no_other(threaded):
    def fail(step, wanted):
        def function(n, *_):
            if n == wanted:
                raise SegtraceError(f"cannot be {step}")

        return function

    advanced = []
    results, problems = pipeline.run(
        range(6),
        read=fail("read", 0),
        compute=fail("computed", 2),
        write=fail("written", 3),
        name=lambda n: f"case {n}",
        advance=lambda: advanced.append(1),
        threaded=threaded,
    )
    assert problems == ["case 0: cannot be read", "case 2: cannot be computed", "case 3: cannot be written"]
    assert sorted(results) == [1, 4, 5]
    assert len(advanced) == 6


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("step", ["read", "computed", "written"])
def test_any_other_exception_is_the_same_with_a_note(threaded, step):
    def broken(n, *_):
        if n == 1:
            raise OSError(28, "no space left")

    steps = {"read": "read", "computed": "compute", "written": "write"}
    with pytest.raises(OSError, match="no space left") as caught:
        run(range(4), threaded=threaded, **{steps[step]: broken})
    assert caught.value.__notes__ == [f"case 1, while it was {step}"]


def test_a_fault_that_all_would_meet_stops_the_rest_and_what_is_being_written_is_finished():
    written = []

    def compute(n, _):
        if n == 1:
            raise pipeline.FatalError("out of memory")

    def write(n, _):
        time.sleep(0.01)
        written.append(n)

    with pytest.raises(pipeline.FatalError, match="out of memory"):
        run(range(4), compute=compute, write=write)
    assert written == [0]
