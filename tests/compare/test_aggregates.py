"""Named averages: by hand, against checked values of published programs, and what missing cases do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_rows import SCORES, row, table
from segtrace import tables
from segtrace.aggregation import mean, run_values
from segtrace.compare import aggregates
from segtrace.metrics.averages import of_all, of_batches
from segtrace.metrics.counts import Counts, count

LABELS = {0: "mean", 1: "lesion"}


def averaged(rows, *, batch=8, methods=("a", "b"), labels=LABELS):
    records = table(rows).to_dict("records")
    values = run_values(records, methods=methods, labels=[k for k in labels if k])
    made = aggregates.rows(records, values=values, labels=labels, batch=batch)
    tables.check("aggregates", tables.frame("aggregates", made), where="test")
    return {(r["method"], r["label"], r["metric"], r["aggregation"]): r for r in made}


# --- conventions -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published():
    """Counts of four images of noise: made as the checked values in the reference notes were."""
    import torch

    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 1, 64, 64, generator=generator)
    target = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(2)) > 0.7
    found = (logits > 0).numpy(), target.numpy()
    return [count(p.astype(np.uint8), t.astype(np.uint8), labels=[1])[1] for p, t in zip(*found, strict=True)]


def test_conventions_give_the_values_of_the_published_programs(published):
    """Values that the programs of VM-UNet (pooled) and UNeXt (batches) print, in single precision."""
    assert of_all(published, metric="iou") == pytest.approx(0.22699905926, abs=1e-10)
    assert of_all(published, metric="dice") == pytest.approx(0.37000690025, abs=1e-10)
    assert of_all(published, metric="accuracy") == pytest.approx(0.49847412109375, abs=0)
    assert sum(c.tp for c in published) == 2413
    assert sum(c.tn for c in published) == 5754
    (iou, size), *more = of_batches(published, batch=4, metric="iou")
    assert (size, more) == (4, [])
    assert iou == pytest.approx(0.22699905999341577, abs=1e-14)
    assert of_batches(published, batch=4, metric="dice")[0][0] == pytest.approx(0.3700069012190342, abs=1e-14)
    for metric, value in (("iou", 0.22701700143104442), ("dice", 0.36998673654336206)):
        alone = of_batches(published, batch=1, metric=metric)
        assert mean([found for found, _ in alone]) == pytest.approx(value, abs=1e-14)


def test_averages_by_hand():
    """a: dice 0.8, 2/3, 0 of counts (8, 2, 2), (10, 0, 10), (0, 5, 0)."""
    found = averaged(SCORES, batch=2)
    of_a = {key[3]: r for key, r in found.items() if key[:3] == ("a", 1, "dice")}
    assert list(of_a) == ["per_case", "per_fold", "per_seed", "per_batch", "pooled"]
    assert of_a["per_case"]["mean"] == mean([0.8, 2 / 3, 0.0])
    assert of_a["pooled"]["mean"] == 36 / (36 + 19)
    ious = [(18 + 1e-5) / (32 + 1e-5), 1e-5 / (5 + 1e-5)]
    dices = [2 * iou / (1 + iou) for iou in ious]
    assert of_a["per_batch"]["mean"] == pytest.approx((2 * dices[0] + dices[1]) / 3, abs=1e-15)
    assert of_a["per_batch"]["sd"] == pytest.approx(np.std(dices, ddof=1))
    assert (of_a["per_batch"]["batch"], of_a["per_batch"]["units"]) == (2, 2)
    assert of_a["per_fold"]["mean"] == of_a["per_case"]["mean"]
    assert "one fold" in of_a["per_fold"]["note"]
    assert found["a", 1, "accuracy", "pooled"]["mean"] == (300 - 19) / 300
    assert found["b", 1, "precision", "pooled"]["mean"] == 1.0  # undefined in two cases, not in all of them
    assert ("a", 1, "precision", "per_batch") not in found
    assert ("a", 1, "hd95_mm", "pooled") not in found


def test_folds_and_seeds_are_averaged_within_first():
    rows = [
        row("a", "c0", 1, tp=8, fp=2, fn=2, seed=0),  # dice 0.8
        row("a", "c0", 1, tp=10, fp=0, fn=0, seed=1),  # 1
        row("a", "c1", 1, tp=5, fp=5, fn=5, fold=1, seed=0),  # 0.5
        row("a", "c1", 1, tp=1, fp=9, fn=9, fold=1, seed=1),  # 0.1
        row("a", "c2", 1, tp=0, fp=1, fn=9, fold=1, seed=0),  # 0
        row("a", "c2", 1, tp=10, fp=10, fn=0, fold=1, seed=1),  # 2/3
    ]
    found = averaged(rows, methods=("a",))
    of_fold, of_seed = found["a", 1, "dice", "per_fold"], found["a", 1, "dice", "per_seed"]
    assert of_fold["mean"] == pytest.approx((0.9 + (0.3 + 1 / 3) / 2) / 2)
    assert of_fold["sd"] == pytest.approx(np.std([0.9, (0.3 + 1 / 3) / 2], ddof=1))
    assert of_seed["mean"] == pytest.approx((1.3 / 3 + (1.1 + 2 / 3) / 3) / 2)
    assert of_seed["sd"] == pytest.approx(np.std([1.3 / 3, (1.1 + 2 / 3) / 3], ddof=1))
    assert (of_fold["units"], of_seed["units"]) == (2, 2)
    pooled = found["a", 1, "dice", "pooled"]  # four runs
    assert pooled["mean"] == pytest.approx((0.8 + 1 + 10 / 30 + 22 / 50) / 4)
    assert pooled["units"] == 4


def test_label_0_is_the_mean_over_labels_of_what_is_pooled():
    rows = [
        row("a", case, label, tp=tp, fp=4 - label, fn=1)
        for case, label, tp in (("c0", 1, 8), ("c1", 1, 2), ("c0", 2, 5), ("c1", 2, 0))
    ]
    found = averaged(rows, methods=("a",), labels={0: "mean", 1: "x", 2: "y"})
    for name in ("pooled", "per_batch", "per_case"):
        labels = [found["a", label, "dice", name]["mean"] for label in (1, 2)]
        assert found["a", 0, "dice", name]["mean"] == pytest.approx(mean(labels), abs=1e-15)


def test_a_missing_prediction_misses_the_whole_reference():
    """Whether its row says so or is not there at all, in every average."""
    there = [row("a", f"c{i}", 1, tp=8, fp=2, fn=2, seed=s) for i in range(3) for s in (0, 1)]
    worst = {"dice": 0.0, "iou": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.0, "nsd": 0.0}
    told = row("a", "c0", 1, tp=0, fp=0, fn=10, seed=1, reason="prediction missing", **worst)
    absent = averaged(there[:1] + there[2:], methods=("a",))
    assert absent == averaged([told, *there[:1], *there[2:]], methods=("a",))
    assert absent["a", 1, "dice", "pooled"]["mean"] == pytest.approx((0.8 + 32 / (32 + 8 + 10)) / 2)
    assert absent["a", 1, "dice", "per_seed"]["mean"] == pytest.approx((0.8 + 1.6 / 3) / 2)
    assert "1 cases lack a prediction" in absent["a", 1, "dice", "per_seed"]["note"]
    assert absent["a", 1, "accuracy", "per_case"]["mean"] < 0.96


def test_images_of_several_sizes_are_told():
    found = averaged(
        [row("a", "c0", 1, tp=8, fp=2, fn=2), row("a", "c1", 1, tp=8, fp=2, fn=2, n=400)], methods=("a",)
    )
    assert "large ones weigh more" in found["a", 1, "dice", "pooled"]["note"]
    assert found["a", 1, "dice", "per_case"]["note"] == ""


COUNTS = st.lists(
    st.builds(Counts, *([st.integers(0, 500)] * 3), st.integers(1, 500)), min_size=1, max_size=12
)


@given(COUNTS, st.integers(1, 12))
def test_pooled_dice_follows_from_pooled_iou(counts, batch):
    """The identity by which published tables are told apart; averages over batches lie on or below it."""
    iou, dice = (of_all(counts, metric=metric) for metric in ("iou", "dice"))
    assert dice == pytest.approx(2 * iou / (1 + iou))
    parts = of_batches(counts, batch=batch, metric="iou")
    assert sum(size for _, size in parts) == len(counts)
    ious, dices = (
        sum(v * n for v, n in of_batches(counts, batch=batch, metric=metric)) / len(counts)
        for metric in ("iou", "dice")
    )
    assert dices <= 2 * ious / (1 + ious) + 1e-12
    whole = of_batches(counts, batch=len(counts), metric="iou")
    assert whole[0][0] == pytest.approx(iou, abs=1e-4)
