"""Learning rates by hand."""

import pytest

from segtrace.train.schedule import learning_rate

BASE = {
    "kind": "constant",
    "step_epochs": None,
    "gamma": 0.5,
    "power": 0.9,
    "minimum": 0.0,
    "warmup_steps": 0,
}


def rate(epoch, *, step=1000, epochs=300, **schedule):
    return learning_rate(
        {"learning_rate": 1e-3, "epochs": epochs, "schedule": BASE | schedule}, epoch=epoch, step=step
    )


def test_constant():
    assert rate(0) == rate(299) == 1e-3


def test_step_gives_the_published_plateaus():
    # six plateaus of 50 epochs, the last at 3.125e-5
    assert [rate(e, kind="step", step_epochs=50) for e in (0, 49, 50, 299)] == pytest.approx(
        [1e-3, 1e-3, 5e-4, 3.125e-5]
    )


def test_poly():
    assert rate(150, kind="poly") == pytest.approx(1e-3 * 0.5**0.9)


def test_cosine_goes_down_once():
    assert rate(0, kind="cosine") == 1e-3
    assert rate(150, kind="cosine", minimum=1e-5) == pytest.approx((1e-3 + 1e-5) / 2)
    rates = [rate(e, kind="cosine") for e in range(300)]
    assert rates == sorted(rates, reverse=True)


def test_warm_up_is_linear_in_steps():
    assert [rate(0, step=s, warmup_steps=3) for s in range(5)] == pytest.approx(
        [2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3]
    )
