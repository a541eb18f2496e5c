"""Every framework fits every network: one step trains all heads and every parameter of the network."""

import pytest
import torch

from registered_networks import all_logits, registry
from segtrace import distill, losses, networks

torch.set_num_threads(1)


@pytest.mark.parametrize("framework", distill.names())
@registry
def test_one_step_gives_every_parameter_a_gradient(framework, name, dims, options):
    torch.manual_seed(0)
    network = networks.create(name, in_channels=2, out_channels=3, spatial_dims=dims, **options)
    side = 2 * network.divisor
    x, target = torch.randn(2, 2, *(side,) * dims), torch.randint(0, 3, (2, *(side,) * dims))
    objective = distill.attach(
        framework, network, out_channels=3, spatial_dims=dims, loss_of=losses.create("dice_ce")
    )
    before = sorted(network.state_dict())
    loss = objective(*network.forward_features(x), target)
    assert torch.isfinite(loss)
    # heads that only training uses are no part of a framework: their own losses train them
    sum([loss, *(logits.square().mean() for logits in all_logits(network, x)[1:])]).backward()
    for module in (network, objective):
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
    for key, parameter in objective.named_parameters():
        assert parameter.grad.abs().max() > 0, key
    assert sorted(network.state_dict()) == before  # nothing of it is left in the network
