"""Asked to end by SIGTERM or SIGUSR1, a training writes its state and ends; started again, it ends with the same bytes."""

import os
import signal
import threading
from pathlib import Path

import pytest
from train_helpers import OUTPUTS, RUN, contents

from segtrace import benchmark
from segtrace.train import interruption, step
from segtrace.train.loop import train


@pytest.mark.parametrize("number", interruption.SIGNALS, ids=lambda number: number.name)
def test_a_training_that_is_asked_to_end_writes_its_state_at_once(project, capsys, monkeypatch, number):
    train(RUN, folder=Path("whole"))
    take, taken = step.take, []

    def asked_twice_in_the_fifth_step(*arguments, **options):
        taken.append(1)
        if len(taken) == 5:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return take(*arguments, **options)

    monkeypatch.setattr(step, "take", asked_twice_in_the_fifth_step)
    with pytest.raises(SystemExit) as ended:
        train(RUN, folder=Path("asked"), save_seconds=3600)
    assert ended.value.code == 143
    assert len(taken) == 5
    assert [path.name for path in Path("asked/resume").iterdir()] == ["state-000000005-000001.safetensors"]
    assert f"asked to end ({number.name}): the state at epoch 2, step 5 is written" in capsys.readouterr().out
    train(RUN, folder=Path("asked"), attempt=2)
    printed = capsys.readouterr().out
    assert "resuming at epoch 2, step 6" in printed
    # by this line the training's measured time is known to be that of its last piece
    assert any(line.startswith(benchmark.RESUMED) for line in printed.splitlines())
    assert len(taken) == 9  # of the whole training, none was taken again
    assert contents("asked") == contents("whole")
    assert sorted(contents("asked")) == sorted(OUTPUTS)


def test_the_former_handler_is_back_afterwards_and_other_threads_set_none():
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in interruption.SIGNALS]

    before = handlers()
    said = []

    def elsewhere() -> None:
        with interruption.noticed() as asked:
            said.append((handlers() == before, asked()))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with interruption.noticed() as asked:
        assert not set(handlers()) & set(before)
        assert not asked()
    assert handlers() == before
    assert said == [(True, "")]
