"""Epochs to 95 % of the final validation Dice, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrace import convergence, tables
from segtrace.compare import overview


def history(*dice):
    return [{"epoch": epoch, "val_dice": value} for epoch, value in enumerate(dice, 1)]


def test_the_first_epoch_at_the_target_and_the_one_from_which_it_stays():
    # the target is 0.76: reached in epoch 2, left in epoch 3, kept from epoch 5 on
    found = convergence.of_history(history(0.5, 0.77, 0.70, 0.75, 0.79, 0.82, 0.80))
    assert (found.epochs, found.validated, found.best, found.final) == (7, 7, 0.82, 0.80)
    assert found.target == pytest.approx(0.76)
    assert (found.epoch, found.stays, found.note) == (2, 5, "")


def test_epochs_without_a_validation_are_passed_over():
    nan = math.nan  # validate_every 3, and the last epoch is none of them
    found = convergence.of_history(history(nan, nan, 0.4, nan, nan, 0.79, nan, nan, 0.8, nan))
    assert (found.epochs, found.validated, found.epoch, found.stays) == (10, 3, 6, 6)
    assert found.note == "validated in 3 of 10 epochs; last validated in epoch 9"


@pytest.mark.parametrize("values", [(), (math.nan,), (math.nan, None)])
def test_a_training_that_is_never_validated_reaches_nothing(values):
    found = convergence.of_history(history(*values))
    assert (found.final, found.target, found.epoch, found.stays) == (None, None, None, None)
    assert (found.epochs, found.note) == (len(values), "no epoch was validated")


def test_a_training_that_ends_at_nothing_has_no_target():
    found = convergence.of_history(history(0.3, 0.0))
    assert (found.best, found.final, found.target, found.epoch) == (0.3, 0.0, None, None)
    assert found.note == "the final validation Dice is 0, which every epoch reaches"


def test_a_training_that_falls_off_says_so():
    found = convergence.of_history(history(0.2, 0.9, 0.5))
    assert (found.epoch, found.stays, found.note) == (2, 2, "ends below 95% of its best")


@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_order_of_rows_is_no_content_and_the_epochs_are_in_order(values):
    rows = history(*values)
    found = convergence.of_history(rows)
    assert found == convergence.of_history(rows[::-1])
    if found.epoch is not None:
        assert 1 <= found.epoch <= found.stays <= found.epochs
        assert values[found.epoch - 1] >= found.target
        assert all(not value < found.target for value in values[found.stays - 1 :])


def test_the_table_has_a_row_a_run_of_each_experiment():
    keys = {"experiment": "e", "method": "m", "fold": 0, "learning_rate": 0.1, "loss": 1.0}
    rows = [
        {**keys, "seed": seed, "run": f"run {seed}", "step": row["epoch"], **row}
        for seed, dice in ((0, (0.5, 0.9)), (1, (math.nan, math.nan)))
        for row in history(*dice)
    ]
    made = tables.check("convergence", tables.frame("convergence", overview.converged(rows)), where="test")
    assert made["run"].tolist() == ["run 0", "run 1"]
    assert made["note"].tolist() == ["", "no epoch was validated"]
    assert made["epoch"][0] == 2.0
    assert math.isnan(made["epoch"][1])


def test_epochs_may_be_text_as_a_table_holds_them():
    rows = [{**row, "epoch": str(row["epoch"])} for row in history(*[0.5] * 11)]
    assert convergence.of_history(rows) == convergence.of_history(history(*[0.5] * 11))
