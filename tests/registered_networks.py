"""Every registered network, for tests over the registry: a new one is tested by being registered."""

import pytest
from torch import Tensor, nn

from segtrace import networks
from segtrace.errors import SegtraceError

#: VM-UNet and its relatives; with fewer channels the last normalisation, over a quarter of them, would magnify rounding.
SCANS = {
    "base": 32,
    "encoder_depths": [1, 2, 1, 1],
    "decoder_depths": [1, 1, 1, 1],
    "states": 4,
}
# small versions, so that the whole registry is tested in seconds
SMALL = {
    "attention_unet": [(2, {"widths": [4, 6, 8, 10, 12]})],
    "cotr": [(3, {"widths": [4, 6, 12], "layers": 1, "heads": 2, "points": 2, "mlp": 8})],
    "attention_unet3d": [(3, {"widths": [4, 6, 8, 10, 12]})],
    "dynunet": [(2, {"filters": [4, 6, 8, 10]}), (3, {"filters": [4, 6, 8]})],
    "unet": [
        (2, {"variant": v, "widths": [4, 6, 8, 10, 12]}) for v in ("transposed", "nested", "wide", "nearest")
    ]
    + [(2, {"variant": "bilinear", "widths": [4, 8, 12, 16, 16]})],
    "unet_plus_plus": [
        (2, {"widths": [4, 6, 8, 10, 12]}),
        (2, {"widths": [4, 6, 8, 10, 12], "deep_supervision": True}),
    ],
    "lv_unet": [(2, {}), (2, {"merged": True})],
    "malunet": [(2, {"widths": [4, 8, 12, 16, 20, 24]})],
    "transfuse": [
        (
            2,
            {
                "size": [32, 32],
                "base": 4,
                "layers": [1, 1, 1],
                "width": 8,
                "depth": 1,
                "heads": 2,
                "unused": False,
            },
        )
    ],
    "utnet_v2": [
        (2, {"base": 4, "head_width": 4, "fusion": [8, 2, 1], "auxiliary": auxiliary, "unused": False})
        for auxiliary in (False, True)
    ],
    "unet3d": [(3, {"base": 2})],
    "resunet_plus_plus": [(2, {"widths": [4, 6, 8, 10, 12]})],
    "swin_unetr": [(2, {"depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2], "window": 2})],
    "emis": [
        (2, {"base": 4, "places": 3}),
        (2, {"base": 4, "attention": False, "fusion": "three_scales"}),
        (2, {"base": 4, "attention": False, "fusion": None}),
    ],
    "sc_unext": [
        (2, {"widths": [5, 6, 7, 8, 11], "skip": skip, "fusion": fusion})
        for skip, fusion in ((True, True), (True, False), (False, True))
    ],
    "transbts": [(3, {"size": [16] * 3, "base": 8, "width": 16, "layers": 1, "heads": 2, "mlp": 16})],
    "unetr": [
        (2, {"size": [32, 32], "feature_size": 2, "hidden_size": 12, "mlp_size": 16, "heads": 2}),
        (3, {"size": [32, 32, 32], "feature_size": 2, "hidden_size": 12, "mlp_size": 16, "heads": 2}),
    ],
    "vm_unet": [(2, SCANS), (2, SCANS | {"skips": "figure", "features": "blocks"})],
    "medmamba_unet": [(2, SCANS)],
    "hc_mamba": [(2, SCANS)],
    "cm_ssm_unet": [(2, SCANS | {"se_ratio": 4}), (2, SCANS | {"se": False, "cmn": False})],
    "unext": [(2, {"widths": [5, 6, 7, 8, 11]})],
    "vnet": [(2, {})],
}


def _published(name: str) -> list[tuple[int, dict]]:
    """A network without a small version: its published configuration, in each number of dimensions that it has."""
    found = []
    for dims in (2, 3):
        try:
            networks.create(name, in_channels=1, out_channels=2, spatial_dims=dims)
        except SegtraceError:
            continue
        found.append((dims, {}))
    return found


def all_logits(network: nn.Module, x: Tensor) -> list[Tensor]:
    """The network's logits, and those of the heads that only training uses: together they use every parameter."""
    if not getattr(network, "auxiliary_weights", ()):
        return [network(x)]
    logits, _, _, auxiliary = network.forward_auxiliary(x)
    return [logits, *auxiliary]


CASES = [
    (name, dims, options)
    for name in networks.names()
    for dims, options in SMALL.get(name) or _published(name)
]
registry = pytest.mark.parametrize(
    ("name", "dims", "options"), CASES, ids=[f"{name}-{dims}d-{i}" for i, (name, dims, _) in enumerate(CASES)]
)
