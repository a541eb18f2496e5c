"""Counts of all labels from one histogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segtrace.metrics import counts as counting
from segtrace.metrics.counts import Counts, count


def test_by_hand() -> None:
    reference = np.array([[1, 1, 0, 0], [2, 2, 2, 0]], np.uint8)
    prediction = np.array([[1, 0, 0, 1], [2, 2, 1, 0]], np.uint8)
    found = count(prediction, reference, labels=[1, 2])
    assert found == {1: Counts(tp=1, fp=2, fn=1, tn=4), 2: Counts(tp=2, fp=0, fn=1, tn=5)}
    one = found[1]
    assert counting.dice(one) == pytest.approx(2 / 5)
    assert counting.iou(one) == pytest.approx(1 / 4)
    assert counting.precision(one) == pytest.approx(1 / 3)
    assert counting.recall(one) == pytest.approx(1 / 2)
    assert counting.accuracy(one) == pytest.approx(5 / 8)


def test_what_has_no_denominator_has_no_value() -> None:
    nothing = Counts(tp=0, fp=0, fn=0, tn=8)
    assert counting.dice(nothing) is None
    assert counting.iou(nothing) is None
    assert counting.precision(Counts(0, 0, 3, 5)) is None
    assert counting.recall(Counts(0, 3, 0, 5)) is None
    assert counting.recall(Counts(0, 0, 3, 5)) == 0.0


def test_unfit_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\), reference of shape \(2, 3\)"):
        count(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), labels=[1])
    with pytest.raises(ValueError, match="whole numbers, got float64"):
        count(np.zeros((2, 2)), np.zeros((2, 2), np.uint8), labels=[1])
    with pytest.raises(ValueError, match="negative"):
        count(np.full((2, 2), -1), np.zeros((2, 2), int), labels=[1])


MAPS = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)),
    )
)


@settings(max_examples=100, deadline=None)
@given(MAPS)
def test_equals_four_boolean_passes(maps: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = maps
    for label, found in count(prediction, reference, labels=[1, 2, 3]).items():
        p, r = prediction == label, reference == label
        assert (found.tp, found.fp) == ((p & r).sum(), (p & ~r).sum())
        assert (found.fn, found.tn) == ((~p & r).sum(), (~p & ~r).sum())


@pytest.mark.parametrize("greatest", [1, 7, 15, 16, 40])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_pieces_and_kinds_of_numbers_make_no_difference(
    monkeypatch: pytest.MonkeyPatch, greatest: int, kind: type
) -> None:
    rng = np.random.default_rng(greatest)
    prediction, reference = (rng.integers(0, greatest + 1, (7, 9, 5)).astype(kind) for _ in range(2))
    labels = [1, greatest]
    expected = {}
    for label in labels:
        p, r = prediction == label, reference == label
        parts = ((p & r), (p & ~r), (~p & r), (~p & ~r))
        expected[label] = Counts(*(int(part.sum()) for part in parts))
    for chunk in (2, 64, 10**6):
        monkeypatch.setattr(counting, "CHUNK", chunk)
        assert count(prediction, reference, labels=labels) == expected
        turned = prediction.transpose(2, 0, 1)[::-1], reference.transpose(2, 0, 1)[::-1]
        assert count(*turned, labels=labels) == expected


def test_dice_equals_monai() -> None:
    torch = pytest.importorskip("torch")
    from monai.metrics import DiceMetric, MeanIoU

    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(int(n) for n in rng.integers(4, 12, int(rng.integers(2, 4))))
        reference, prediction = (rng.integers(0, 4, shape, dtype=np.uint8) for _ in range(2))
        one_hot = [
            torch.nn.functional.one_hot(torch.from_numpy(map_).long(), 4).movedim(-1, 0)[None]
            for map_ in (prediction, reference)
        ]
        dice, iou = DiceMetric(include_background=False), MeanIoU(include_background=False)
        found = count(prediction, reference, labels=[1, 2, 3])
        for values, function in ((dice(*one_hot), counting.dice), (iou(*one_hot), counting.iou)):
            ours = [function(found[label]) for label in (1, 2, 3)]
            assert ours == pytest.approx(values[0].tolist(), abs=1e-6)
