"""Training: same seed, same bytes; killed anywhere, the same bytes; faults stop with all that is needed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import INSTANCE, OUTPUTS, RUN, contents, run_with

from segtrace import checkpoint, store
from segtrace.errors import SegtraceError
from segtrace.train import data, loop, resume
from segtrace.train.loop import train
from segtrace.train.validation import validate
from segtrace.train.watch import STOPPED, Watch


def test_outputs_and_history(project):
    train(RUN, folder=Path("out"))
    assert sorted(contents("out")) == sorted(OUTPUTS)
    rows = Path("out/history.csv").read_text().splitlines()
    assert rows[0] == "epoch,step,learning_rate,loss,val_dice"
    assert [[float(cell) for cell in row.split(",")[:3]] for row in rows[1:]] == [
        pytest.approx(expected) for expected in ([1, 3, 0.01], [2, 6, 0.0075], [3, 9, 0.0025])
    ]
    run = json.loads(Path("out/run.json").read_text())
    assert run["machine"]["device"] == "cpu"
    assert {k: v for k, v in run.items() if k != "machine"} == RUN


def test_history_has_the_columns_of_its_table():
    from segtrace import tables

    assert list(loop.HISTORY) == tables.columns("history")


def test_same_seed_same_bytes_and_another_seed_others(project):
    train(RUN, folder=Path("one"))
    train(RUN, folder=Path("two"), save_steps=1)
    train(run_with(seed=1), folder=Path("three"))
    assert contents("one") == contents("two")
    assert contents("one")["weights.safetensors"] != contents("three")["weights.safetensors"]


def test_the_order_of_cases_in_run_json_and_where_arrays_lie_change_nothing(project, monkeypatch):
    train(RUN, folder=Path("one"))
    monkeypatch.setattr(data.os, "sysconf", lambda _: 1)  # nothing fits in memory: memory maps
    train(run_with(cases={"train": list("edcba"), "val": ["v", "w"]}), folder=Path("two"))
    assert checkpoint.load(Path("one/weights.safetensors"))[0].keys()
    one, two = (checkpoint.load(Path(f"{n}/weights.safetensors"))[0] for n in ("one", "two"))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_best_val_is_the_earliest_best(project, monkeypatch):
    scores = iter([0.5, 0.7, 0.7])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: next(scores))
    train(RUN, folder=Path("out"))
    assert checkpoint.read_metadata(Path("out/best_val.safetensors"))["epoch"] == 2
    assert checkpoint.read_metadata(Path("out/weights.safetensors"))["epoch"] == 3


def test_without_validation_cases_best_is_last(project):
    train(run_with(cases={"train": ["a", "b"], "val": []}), folder=Path("out"))
    best, last = (checkpoint.load(Path(f"out/{n}.safetensors"))[0] for n in ("best_val", "weights"))
    assert all(torch.equal(best[k], last[k]) for k in last)
    assert Path("out/history.csv").read_text().splitlines()[-1].endswith(",")


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "adamw", "ema_decay": 0.9},
        {"optimiser": "adam", "amsgrad": True, "accumulate": 2, "network": INSTANCE},
        {"optimiser": "nadam"},
        {"optimiser": "sgd", "nesterov": True},
        {"framework": "dsd", "framework_options": {"share_heads": True}, "network": INSTANCE},
        {
            "framework": "emis",
            "loss": "bce_dice",
            "ema_decay": 0.9,
            "network": INSTANCE | {"out_channels": 1, "background": False},
        },
        {"framework": "feature_distillation", "accumulate": 2, "network": INSTANCE},
    ],
    ids=lambda changes: changes.get("framework") or changes["optimiser"],
)
def test_interrupted_at_many_points_and_resumed_equals_uninterrupted(project, monkeypatch, changes):
    run = run_with(clip_norm=1.0, **changes)
    train(run, folder=Path("whole"))
    random = np.random.default_rng(3)
    make, count = data.make, 0

    def stopping(*arguments, **options):
        nonlocal count
        count -= 1
        if count < 0:
            raise KeyboardInterrupt
        return make(*arguments, **options)

    monkeypatch.setattr(data, "make", stopping)
    for attempt in range(40):
        count = int(random.integers(1, 4))
        try:
            train(run, folder=Path("pieces"), save_steps=1 + attempt % 2)
        except KeyboardInterrupt:
            assert not Path("pieces/run.json").exists()
            continue
        break
    assert attempt >= 3
    assert contents("pieces") == contents("whole")


KILLER = """
import json, os, signal, sys
from pathlib import Path
from segtrace import checkpoint, files
from segtrace.train import data, loop, resume
point, run = sys.argv[1], json.loads(sys.argv[2])

def kill_at(module, name, number):
    original, calls = getattr(module, name), [0]
    def wrapped(*a, **k):
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*a, **k)
    setattr(module, name, wrapped)

if point == "step":
    kill_at(data, "make", 5)
elif point == "half-written state":
    kill_at(files.os, "replace", 1)
elif point == "finish":
    kill_at(loop, "write_json", 1)
loop.train(run, folder=Path("killed"), save_steps=2)
"""


def test_killed_by_the_kernel_at_three_points_equals_uninterrupted(project):
    train(RUN, folder=Path("whole"))
    for point in ("step", "half-written state", "finish"):
        done = subprocess.run(
            [sys.executable, "-c", KILLER, point, json.dumps(RUN)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not Path("killed/run.json").exists()
    train(RUN, folder=Path("killed"))
    leftovers = [name for name in contents("killed") if name not in OUTPUTS]
    assert {n: contents("killed")[n] for n in OUTPUTS} == contents("whole")
    assert not leftovers


def test_a_state_of_another_run_is_left_aside_with_a_line(project, capsys, monkeypatch):
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, folder=Path("out"), save_steps=1)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    changed = run_with(learning_rate=0.02)
    train(changed, folder=Path("out"))
    assert "of another configuration, data, code or machine" in capsys.readouterr().out
    train(changed, folder=Path("fresh"))
    assert contents("out") == contents("fresh")


def interrupt_after(monkeypatch, steps):
    make, calls = data.make, []

    def stopping(*arguments, **options):
        calls.append(1)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return make(*arguments, **options)

    monkeypatch.setattr(data, "make", stopping)


def test_two_states_are_kept_and_a_damaged_one_is_passed_over(project, capsys, monkeypatch):
    train(RUN, folder=Path("whole"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            train(RUN, folder=Path("out"), save_steps=1)
    states = sorted(Path("out/resume").iterdir())
    assert len(states) == resume.KEPT
    states[-1].write_bytes(states[-1].read_bytes()[:-40])
    train(RUN, folder=Path("out"))
    printed = capsys.readouterr().out
    assert "damaged" in printed
    assert "resuming at" in printed
    assert contents("out") == contents("whole")


def test_a_finished_run_is_not_trained_again(project, capsys):
    train(RUN, folder=Path("out"))
    before = Path("out/weights.safetensors").stat().st_mtime_ns
    train(RUN, folder=Path("out"))
    assert "already trained" in capsys.readouterr().out
    assert Path("out/weights.safetensors").stat().st_mtime_ns == before
    Path("out/weights.safetensors").write_bytes(b"damaged")
    train(RUN, folder=Path("out"))
    assert checkpoint.is_intact(Path("out/weights.safetensors"))
    train(run_with(seed=2), folder=Path("out"))
    assert json.loads(Path("out/run.json").read_text())["seed"] == 2


def test_a_loss_that_is_not_finite_stops_with_all_that_is_needed(project, monkeypatch):
    entry = store.open_case(Path("prepared"), "c")
    image = np.array(entry.image)
    image[...] = np.nan
    store.write_case(
        Path("prepared"), "c", image=image, label=np.array(entry.label), record={"digest": "0" * 16}
    )
    with pytest.raises(SegtraceError, match=r"tiny/r/p/m/smoke/fold-0_seed-0: stopped, loss nan") as caught:
        train(RUN, folder=Path("out"), save_steps=1)
    message = str(caught.value)
    for part in (
        "epoch 1, step",
        "cases: ",
        "c",
        "learning rate: 0.01",
        "last good state: ",
        "config/training/tiny.yaml",
    ):
        assert part in message
    assert not (Path("out") / "weights.safetensors").exists()
    samples = json.loads((Path("out/resume") / STOPPED).read_text())["samples"]
    assert "c" in {sample["case"] for sample in samples}
    assert all(sample["case"] in message for sample in samples)


def test_a_late_look_still_names_the_first_bad_step(project):
    watch = Watch(RUN, Path("out"), torch.device("cpu"))
    watch.every = 50
    good, bad = torch.tensor(1.0), torch.tensor(float("inf"))
    for step, norm in enumerate([good, good, bad, bad]):
        samples = [{"case": f"case{step}"}]
        watch.see(good, norm, position={"epoch": 0, "step": step}, samples=samples, rate=0.1)
    with pytest.raises(SegtraceError, match=r"gradient norm inf at epoch 1, step 3\n  cases: case2\n"):
        watch.check()


def test_unfit_cases_are_all_listed(project):
    store.write_case(
        Path("prepared"),
        "b",
        image=np.zeros((2, 24, 24), np.float32),
        label=np.zeros((24, 24), np.uint8),
        record={"digest": "0" * 16},
    )
    store.write_case(
        Path("prepared"),
        "c",
        image=np.zeros((1, 24, 24), np.float32),
        label=np.full((24, 24), 2, np.uint8),
        record={"digest": "0" * 16},
    )
    store.remove_case(Path("prepared"), "d")
    with pytest.raises(SegtraceError, match="cannot train: 3 problems") as caught:
        train(RUN, folder=Path("out"))
    for part in ("the run expects 1 channels", "label 2, the run has 0 to 1", "missing or incomplete"):
        assert part in str(caught.value)


def test_validation_counts_dice_by_hand(project):
    class Fixed(torch.nn.Module):
        divisor = 8

        def forward(self, x):  # says lesion where the image is above one half
            return torch.cat([torch.full_like(x, 0.5), x], 1)

    cases = data.load(RUN)
    expected = []
    for name in ("v", "w"):
        image, label = (part.numpy() for part in cases.whole(name))
        said, label = image[0] > 0.5, label > 0
        expected.append(2 * (said & label).sum() / (said.sum() + label.sum()))
    found = validate(Fixed(), cases, run=run_with(precision="fp32"), device=torch.device("cpu"))
    assert found == pytest.approx(np.mean(expected))


def test_it_runs_on_a_bare_machine(project):
    Path("given.json").write_text(json.dumps(run_with(epochs=1)))
    code = (
        "import sys, runpy\n"
        "for name in ('pandas', 'pandera', 'pydantic', 'SimpleITK', 'snakemake', 'dvc'):\n"
        "    sys.modules[name] = None\n"  # importing it fails, as where it is not installed
        "sys.argv = ['segtrace.train', 'given.json', 'bare']\n"
        "runpy.run_module('segtrace.train', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(contents("bare")) == sorted(OUTPUTS)
