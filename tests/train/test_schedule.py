"""Learning rates by hand."""

import pytest
import torch

from segtrace.config.models import Schedule
from segtrace.train.schedule import learning_rate

BASE = Schedule().model_dump()


def rate(epoch, *, step=1000, epochs=300, steps_per_epoch=10, **schedule):
    training = {"learning_rate": 1e-3, "epochs": epochs, "schedule": BASE | schedule}
    return learning_rate(training, epoch=epoch, step=step, steps_per_epoch=steps_per_epoch)


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


def test_a_cosine_of_fifty_epochs_over_three_hundred_oscillates_as_torch_s():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    published = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=50, eta_min=1e-5)
    for epoch in range(300):
        found = rate(epoch, kind="cosine", period_epochs=50, minimum=1e-5)
        assert found == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9), epoch
        optimiser.step()
        published.step()


def test_linear_holds_and_then_falls_straight():
    rates = [rate(e, kind="linear", epochs=100, hold_epochs=70) for e in (0, 70, 85, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 1e-3 / 30])


def test_a_rate_may_change_with_each_step():
    rates = [rate(0, step=s, epochs=2, every="step", kind="poly", power=1.0) for s in (0, 5, 10)]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4])
    assert rate(1, step=19, epochs=2, every="step", kind="step", step_epochs=1) == pytest.approx(5e-4)
