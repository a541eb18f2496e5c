"""`segtrace merge` writes a network that gives the trained one's logits, or says why not."""

import pytest
import torch

from segtrace import checkpoint, cli, files, layout, networks

NAME = "tiny/r/p/lv_unet/smoke/fold-0_seed-0"


def trained(*, share, network="lv_unet", options=None):
    """A run's folder whose network has moved running statistics and was told of ``share`` of its training."""
    spec = {
        "name": network,
        "options": options or {},
        "in_channels": 2,
        "out_channels": 1,
        "spatial_dims": 2,
    }
    torch.manual_seed(0)
    made = networks.of_run({"network": {**spec}, "training": {"loss": "bce_dice"}})
    if share:
        made.set_progress(share)
    made.train()(torch.randn(2, 2, 256, 256) * 3)
    folder = layout.run(layout.parse_run(NAME))
    checkpoint.save(folder / "weights.safetensors", made.state_dict(), metadata={"run": NAME})
    files.write_json(folder / "run.json", {"run": NAME, "network": spec, "training": {"loss": "bce_dice"}})
    return made.eval()


def test_the_merged_network_is_the_trained_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = trained(share=1.0)
    assert cli.main(["merge", NAME, "--output", "small"]) == 0
    assert "parameters, of 934,401; logits of noise differ by" in capsys.readouterr().out
    described = files.read_json(tmp_path / "small" / "run.json")
    small = networks.of_run(described)
    checkpoint.load_weights(tmp_path / "small" / "weights.safetensors", small)
    x = torch.randn(1, 2, 128, 256)
    with torch.inference_mode():
        expected, found = network(x), small.eval()(x)
    assert (expected - found).abs().max() <= 1e-5 * max(1, float(expected.abs().max()))
    assert described["network"]["options"] == {"merged": True}
    assert cli.main(["merge", NAME, "--output", "small"]) == 1
    assert "small: is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"share": 299 / 300}, "slope of its activation is 0.9948"),
        ({"share": 0}, "slope of its activation is 0.0000"),
        ({"share": 0, "options": {"merged": True}}, "only an lv_unet can be merged, and only once"),
        ({"share": 0, "network": "unet", "options": {"widths": [4] * 5}}, "UNet: only an lv_unet"),
    ],
)
def test_what_cannot_be_merged_is_refused(made, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trained(**made)
    assert cli.main(["merge", NAME, "--output", "small"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
