"""EMIS's self-distillation: the numbers of its formula, the sizes of its heads, and no gradient to the teacher."""

import numpy as np
import pytest
import torch

from segtrace import distill, losses, networks
from segtrace.errors import SegtraceError

torch.set_num_threads(1)


def made(dims=2, *, classes=3, loss="dice_ce", **options):
    """(objective, features of a small network, target), float64."""
    torch.manual_seed(0)
    network = networks.create(
        "dynunet", in_channels=1, out_channels=classes, spatial_dims=dims, filters=[4, 6, 8, 10]
    ).double()
    network.__dict__["background"] = losses.has_background(loss)
    objective = distill.attach(
        "emis", network, out_channels=classes, spatial_dims=dims, loss_of=losses.create(loss), **options
    ).double()
    x = torch.randn(2, 1, *(16,) * dims, dtype=torch.float64)
    return objective, network.forward_features(x), torch.randint(0, classes, (2, *(16,) * dims))


def share(logits, tau):
    e = np.exp(logits / tau)
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("teacher_first", [False, True])
@pytest.mark.parametrize(
    ("dims", "loss", "classes"), [(2, "dice_ce", 3), (3, "dice_ce", 2), (2, "bce_dice", 1)]
)
def test_equals_its_formula(dims, loss, classes, teacher_first):
    options = {"alpha": 0.7, "beta": 0.2, "tau": 2.5, "teacher_first": teacher_first}
    objective, features, target = made(dims, classes=classes, loss=loss, **options)
    logits, _, decoder = features
    loss_of = losses.create(loss)
    expected = float(loss_of(logits.detach(), target))
    assert len(objective.heads) == len(decoder) - 1  # none on the bottleneck
    for head, feature in zip(objective.heads, decoder[1:], strict=True):
        mode = {2: "bilinear", 3: "trilinear"}[dims]
        out = torch.nn.functional.interpolate(head(feature), size=(16,) * dims, mode=mode)
        whole = [z.detach().numpy() for z in (out, logits)]
        if loss == "bce_dice":
            whole = [np.concatenate([np.zeros_like(z), z], axis=1) for z in whole]
        a, y = (share(z, 2.5) for z in whole)
        t, s = (y, a) if teacher_first else (a, y)
        divergence = (t * np.log(t / s)).sum(1).mean()
        expected += 0.7 * float(loss_of(out.detach(), target)) + 0.2 * 2.5**2 * divergence
    assert float(objective(*features, target)) == pytest.approx(expected, rel=1e-10)


def test_nothing_is_taught_to_the_final_output():
    objective, (logits, encoder, decoder), target = made(alpha=0, beta=1)
    teacher = logits.detach().requires_grad_()
    loss = objective(teacher, encoder, [part.detach() for part in decoder], target)
    found = torch.autograd.grad(loss, teacher)[0]
    plain = torch.autograd.grad(objective.loss_of(teacher, target), teacher)[0]
    assert torch.equal(found, plain)


@pytest.mark.parametrize(("base", "heads"), [(64, 899), (32, 451)])
def test_the_heads_of_a_u_net_have_the_stated_size(base, heads):
    with torch.device("meta"):
        network = networks.create(
            "unet", in_channels=3, out_channels=1, widths=[base * 2**level for level in range(5)]
        )
        objective = distill.attach(
            "emis", network, out_channels=1, spatial_dims=2, loss_of=losses.create("bce_dice")
        )
    assert sum(p.numel() for p in objective.parameters()) == heads


def test_a_head_on_the_bottleneck_is_an_option():
    objective, features, target = made(bottleneck=True)
    assert [head.in_channels for head in objective.heads] == [part.shape[1] for part in features[2]]
    objective(*features, target).backward()
    assert all(p.grad.abs().max() > 0 for p in objective.parameters())


def test_unfit_options_are_refused():
    with pytest.raises(SegtraceError, match="tau 0 must be above 0"):
        made(tau=0)
    with pytest.raises(SegtraceError, match="alpha and beta are both 0"):
        made(alpha=0, beta=0)
    network = torch.nn.Module()
    network.encoder_channels = network.encoder_scales = network.decoder_channels = network.decoder_scales = (
        4,
    )
    with pytest.raises(SegtraceError, match="none between bottleneck and output"):
        distill.attach("emis", network, out_channels=2, spatial_dims=2, loss_of=losses.create("dice_ce"))
