"""``segtrace merge RUN --output FOLDER``: the form for deployment of a trained network that has one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.errors import SegtraceError

if TYPE_CHECKING:
    from torch import nn

#: By how much logits of the two forms may differ, as a share of the greatest one where that is above 1.
TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a trained run of lv_unet, DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a new folder: weights.safetensors, and run.json, which describes the merged network",
    )


def run(arguments: argparse.Namespace) -> None:
    """Merge the run's last weights, compare both forms on noise, and write the merged one.

    Raises :class:`SegtraceError` for a run that is not trained, one whose network cannot be merged, a folder that is there
    already, and logits that differ by more than :data:`TOLERANCE`; then nothing is written.
    """
    from segtrace import checkpoint, files, layout, networks

    name = layout.parse_run(arguments.run)
    folder, output = layout.run(name), arguments.output
    if output.exists():
        raise SegtraceError(f"{output}: is there already; give a new folder")
    resolved: dict[str, Any] = files.read_json(folder / "run.json")
    network = networks.of_run(resolved)
    weights = folder / layout.WEIGHTS["last"]
    metadata = checkpoint.load_weights(weights, network)
    small, spec = merged(network.eval(), run=arguments.run), resolved["network"]
    found = difference(network, small, channels=spec["in_channels"])
    if found > TOLERANCE:
        raise SegtraceError(
            f"{arguments.run}: merged, its logits differ by {found:.1e}, more than {TOLERANCE:.0e}"
        )
    described = resolved | {
        "network": spec | {"options": spec["options"] | {"merged": True}},
        "merged_from": files.sha256_file(weights),
    }
    kept = {key: value for key, value in metadata.items() if key != "content_sha256"}
    checkpoint.save(output / "weights.safetensors", small.state_dict(), metadata=kept)
    files.write_json(output / "run.json", described)
    before, after = (sum(p.numel() for p in one.parameters()) for one in (network, small))
    print(f"{output}: {after:,} parameters, of {before:,}; logits of noise differ by {found:.1e} at most")


def merged(network: "nn.Module", *, run: str) -> "nn.Module":
    """The network's other form; raises :class:`SegtraceError` where it has none."""
    from segtrace.networks import lv_unet

    try:
        return lv_unet.merged(network)
    except SegtraceError as error:
        raise SegtraceError(f"{run}: {error}") from None


def difference(network: "nn.Module", other: "nn.Module", *, channels: int) -> float:
    """The greatest difference of logits for noise of the least size that fits twice, by the greatest logit above 1."""
    import torch

    side = 2 * int(network.divisor)
    x = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, two = network(x), other(x)
    return float((one - two).abs().max() / max(1.0, float(one.abs().max())))
