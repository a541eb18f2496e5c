"""First weights from a user's files: nothing in them is run, names are mapped, all is said, equal bytes follow."""

import hashlib
import io
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.nn import functional
from train_helpers import contents, run_with

from segtrace import networks
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError
from segtrace.train import pretrained
from segtrace.train.loop import train

torch.set_num_threads(1)
ROOT = Path(__file__).parents[2]
PLAIN = {"name": "same_names", "rename": [], "also": [], "positions": {}}


def mapping(name):
    text = yaml.safe_load((ROOT / f"config/mappings/{name}.yaml").read_text())
    return {"name": name} | models.Mapping.model_validate(text).model_dump(exclude={"title", "source"})


def entry(path, data, *, rules=PLAIN, under=""):
    """The file written, and its entry of ``pretrained``."""
    Path(path).write_bytes(data)
    return {
        "file": str(path),
        "sha256": hashlib.sha256(data).hexdigest(),
        "mapping": rules,
        "under": under,
    }


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


# --- reading ------------------------------------------------------------------------------------------


class Hostile:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("was_run",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Hostile()),
        pickle.dumps({"model": OrderedDict(a=Hostile())}, protocol=4),
        saved({"model": {"weight": torch.ones(2)}, "config": Hostile()}),
        saved(
            {"model": {"weight": torch.ones(2)}, "config": Hostile()}, _use_new_zipfile_serialization=False
        ),
        saved(nn.Linear(2, 2)),  # a whole network: a class by name
    ],
    ids=["pickle", "pickle 4", "torch", "torch, old form", "network"],
)
def test_what_could_run_code_is_refused_unread(data):
    given = entry("bad.pth", data)
    with pytest.raises(SegtraceError, match=r"bad.pth: .*nothing in it was run"):
        pretrained.put(nn.Linear(2, 2), [given])
    assert not Path("was_run").exists()
    pickle.loads(pickle.dumps(Hostile()))  # it would have been seen
    assert Path("was_run").exists()


def test_the_refusal_names_what_was_asked_for():
    given = entry("bad.pth", saved({"model": {"weight": torch.ones(2)}, "config": Hostile()}))
    with pytest.raises(SegtraceError, match=r"it asks for \w+.mkdir beyond tensors and plain values"):
        pretrained.put(nn.Linear(2, 2), [given])


@pytest.mark.parametrize("data", [pickle.dumps(Hostile()), b"x" * 9], ids=["hostile", "text"])
def test_no_message_repeats_the_advice_to_read_a_file_unsafely(data):
    with pytest.raises(SegtraceError, match=r"\(Unsupported operand \d+\); nothing in it was run") as caught:
        pretrained.put(nn.Linear(2, 2), [entry("w", data)])
    assert "weights_only" not in str(caught.value)


def test_missing_other_and_damaged_files_are_named():
    good = saved(nn.Linear(2, 2).state_dict())
    given = entry("a.pth", good)
    Path("a.pth").write_bytes(good[:-1] + b"x")
    with pytest.raises(
        SegtraceError, match=r"its SHA-256 is [0-9a-f]{64}, the method says " + given["sha256"]
    ):
        pretrained.put(nn.Linear(2, 2), [given])
    Path("a.pth").unlink()
    with pytest.raises(SegtraceError, match=r"no such file; .* none are ever fetched"):
        pretrained.put(nn.Linear(2, 2), [given])
    for number, data in enumerate(
        (b"", b"<html>not found</html>", good[: len(good) // 2], b"\0" * 7 + b"\1{oops")
    ):
        with pytest.raises(SegtraceError, match="damaged, or neither safetensors nor"):
            pretrained.put(nn.Linear(2, 2), [entry(f"{number}.pth", data)])


@pytest.mark.parametrize(
    "make",
    [
        saved,
        lambda state: saved({"model": state, "epoch": 3}),
        lambda state: saved({"state_dict": {f"module.{name}": value for name, value in state.items()}}),
        lambda state: saved(state, _use_new_zipfile_serialization=False),
        to_safetensors,
    ],
    ids=["bare", "under model", "parallel", "old form", "safetensors"],
)
def test_the_usual_forms_are_read(make):
    source, network = nn.Linear(3, 2), nn.Linear(3, 2)
    told = pretrained.put(network, [entry("w", make(source.state_dict()))])
    assert torch.equal(network.weight, source.weight)
    assert told == {"files": [{"file": "w", "taken": 2, "left": {}}], "drawn": []}


def test_several_places_of_weights_are_asked_about():
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    data = saved({"model": one.state_dict(), "model_ema": {"inner": two.state_dict()}})
    network = nn.Linear(3, 2)
    with pytest.raises(
        SegtraceError, match="entries model, model_ema all could hold the weights; name one by 'under'"
    ):
        pretrained.put(network, [entry("w", data)])
    pretrained.put(network, [entry("w", data, under="model_ema.inner")])
    assert torch.equal(network.bias, two.bias)
    with pytest.raises(SegtraceError, match="no entry 'modle'; it has model, model_ema"):
        pretrained.put(network, [entry("w", data, under="modle")])
    with pytest.raises(
        SegtraceError, match=r"entry 'model\.bias' holds no tensors by name; it has bias, weight"
    ):
        pretrained.put(network, [entry("w", data, under="model.bias")])
    with pytest.raises(SegtraceError, match="no tensors by name in it; it has epoch"):
        pretrained.put(network, [entry("w", saved({"epoch": 3}))])


# --- mapping ------------------------------------------------------------------------------------------


def test_what_is_taken_left_and_drawn_is_said(capsys):
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    before = network[2].weight.clone()
    state = {"0.weight": torch.ones(2, 3), "0.bias": torch.ones(5), "head.bias": torch.ones(1)}
    rules = PLAIN | {"also": [["^0", "1"]]}
    told = pretrained.put(network, [entry("w", saved(state | {"1.weight": torch.zeros(2, 2)}), rules=rules)])
    assert told["files"][0]["taken"] == 2
    assert told["files"][0]["left"] == {
        "0.bias": "shape (5,), in the network (2,)",
        "head.bias": "the network has no head.bias",
    }
    assert told["drawn"] == ["0.bias", "1.bias", "2.bias", "2.weight"]
    assert torch.equal(network[2].weight, before)
    shown = capsys.readouterr().out
    assert "w: first weights: 2 of the network's 6 tensors are taken" in shown
    assert "left in the file: 0.bias (shape (5,), in the network (2,)), head.bias" in shown
    assert "drawn at random: 0.bias, 1.bias, 2.bias, 2.weight" in shown


def test_what_fits_nowhere_or_is_no_number_is_refused():
    with pytest.raises(
        SegtraceError, match="nothing of it fits Linear by the mapping 'same_names'; the file has x"
    ):
        pretrained.put(nn.Linear(2, 2), [entry("w", saved({"x": torch.ones(2)}))])
    state = nn.Linear(2, 2).state_dict()
    state["bias"][1] = torch.nan
    with pytest.raises(SegtraceError, match="bias holds values that are no finite numbers"):
        pretrained.put(nn.Linear(2, 2), [entry("w", saved(state))])


def test_a_file_of_other_sizes_or_of_no_entries_is_told_so():
    with pytest.raises(SegtraceError, match=r"the file has bias \(shape \(5,\), in the network \(2,\)\)"):
        pretrained.put(nn.Linear(2, 2), [entry("w", saved({"bias": torch.ones(5)}))])
    for value, words in (([torch.ones(2)], "it holds a list"), ({}, "it is empty")):
        with pytest.raises(SegtraceError, match=f"no tensors by name in it; {words}"):
            pretrained.put(nn.Linear(2, 2), [entry("w", saved(value))])


def test_tensors_without_values_of_their_own_are_left():
    state = {"weight": torch.ones(2, 2).to_sparse(), "bias": torch.ones(2)}
    told = pretrained.put(nn.Linear(2, 2), [entry("w", saved(state))])
    assert told["files"][0]["left"] == {"weight": "stored as torch.sparse_coo, no plain tensor"}
    state["weight"] = torch.ones(2, 2, device="meta")
    told = pretrained.put(nn.Linear(2, 2), [entry("w", saved(state))])
    assert told["files"][0]["left"] == {"weight": "without its values"}


def test_two_tensors_for_one_place_are_refused():
    rules = PLAIN | {"rename": [["^old_", ""]]}
    state = {"old_bias": torch.ones(2), "bias": torch.zeros(2)}
    with pytest.raises(SegtraceError, match="w: bias and old_bias both become bias by the mapping"):
        pretrained.put(nn.Linear(2, 2), [entry("w", saved(state), rules=rules)])


#: Names of VMamba's published program → what stands for it in a block here.
VMAMBA = {
    "ln_1.weight": "norm.weight",
    "ln_1.bias": "norm.bias",
    "self_attention.x_proj_weight": "scan.coefficients",
    "self_attention.dt_projs_weight": "scan.steps",
    "self_attention.dt_projs_bias": "scan.steps_bias",
    "self_attention.A_logs": "scan.decay_log",
    "self_attention.Ds": "scan.direct",
    "self_attention.in_proj.weight": "scan.enter.weight",
    "self_attention.conv2d.weight": "scan.depthwise.weight",
    "self_attention.conv2d.bias": "scan.depthwise.bias",
    "self_attention.out_norm.weight": "scan.norm.weight",
    "self_attention.out_norm.bias": "scan.norm.bias",
    "self_attention.out_proj.weight": "scan.leave.weight",
}


def vmamba(network, depths):
    """A made-up VMamba of the network's widths: ``depths`` blocks a stage, each tensor of its own value."""
    own, found = network.state_dict(), {}
    for stage, depth in enumerate(depths):
        for block in range(depth):
            for theirs, ours in VMAMBA.items():
                shape = own[f"encoder.{stage}.blocks.0.{ours}"].shape
                found[f"layers.{stage}.blocks.{block}.{theirs}"] = torch.full(shape, 1.0 + len(found))
        if stage < 3:
            for theirs, ours in (
                ("norm.weight", "norm.weight"),
                ("norm.bias", "norm.bias"),
                ("reduction.weight", "reduce.weight"),
            ):
                shape = own[f"merge.{stage}.{ours}"].shape
                found[f"layers.{stage}.downsample.{theirs}"] = torch.full(shape, 1.0 + len(found))
    for name in ("proj.weight", "proj.bias", "norm.weight", "norm.bias"):
        found[f"patch_embed.{name}"] = torch.full(own[f"patch_embed.{name}"].shape, 1.0 + len(found))
    return found | {"norm.weight": torch.ones(8), "head.weight": torch.ones(1000, 8)}


def test_vmamba_goes_into_the_encoder_and_mirrored_into_the_decoder():
    network = networks.create("vm_unet", in_channels=3, out_channels=1, base=8, states=2)
    source = vmamba(network, [2, 2, 5, 2])
    told = pretrained.put(network, [entry("w", saved({"model": source}), rules=mapping("vmamba"))])
    state = network.state_dict()
    for stage in range(4):
        for block in range(2):
            for theirs, ours in VMAMBA.items():
                value = source[f"layers.{stage}.blocks.{block}.{theirs}"]
                assert torch.equal(state[f"encoder.{stage}.blocks.{block}.{ours}"], value)
                mirrored = f"decoder.{3 - stage}.blocks.{block}.{ours}"
                assert (mirrored in state) == ((stage, block) != (0, 1))  # the last stage has one block
                if mirrored in state:
                    assert torch.equal(state[mirrored], value)
    assert torch.equal(state["merge.1.reduce.weight"], source["layers.1.downsample.reduction.weight"])
    left = told["files"][0]["left"]
    deeper = {
        name
        for name in source
        if name.startswith(("layers.2.blocks.2", "layers.2.blocks.3", "layers.2.blocks.4"))
    }
    assert set(left) == deeper | {"norm.weight", "head.weight"}
    assert {name.partition(".")[0] for name in told["drawn"]} == {"expand", "last", "head"}


def test_deit_and_resnet_go_into_the_branches_of_transfuse():
    network = networks.create("transfuse", in_channels=3, out_channels=1)
    own = network.state_dict()
    deit = {
        name.removeprefix("transformer."): torch.randn(value.shape)
        for name, value in own.items()
        if name.startswith(("transformer.blocks.", "transformer.patch_embed.", "transformer.norm."))
    }
    deit |= {
        "pos_embed": torch.randn(1, 197, 384),
        "cls_token": torch.randn(1, 1, 384),
        "head.weight": torch.ones(9, 384),
    }
    resnet = {
        name.removeprefix("cnn."): torch.rand(value.shape).to(value.dtype)
        for name, value in own.items()
        if name.startswith(("cnn.conv1", "cnn.bn1", "cnn.layer"))
    }
    entries = [
        entry("deit", saved({"model": deit}), rules=mapping("deit")),
        entry("resnet", saved(resnet | {"fc.bias": torch.ones(9)}), rules=mapping("resnet")),
    ]
    told = pretrained.put(network, entries)
    state = network.state_dict()
    for name, value in resnet.items():
        assert torch.equal(state[f"cnn.{name}"], value)
    for name in ("blocks.0.norm1.weight", "blocks.7.attn.qkv.weight", "patch_embed.proj.weight", "norm.bias"):
        assert torch.equal(state[f"transformer.{name}"], deit[name])
    square = deit["pos_embed"][:, 1:].transpose(1, 2).reshape(1, 384, 14, 14)
    wide = functional.interpolate(square, (12, 16), mode="bilinear", align_corners=True)
    assert torch.equal(state["transformer.pos_embed"], wide.flatten(2).transpose(1, 2))
    assert [set(file["left"]) for file in told["files"]] == [{"head.weight"}, {"fc.bias"}]
    assert not [name for name in told["drawn"] if name.startswith(("cnn.", "transformer."))]


# --- in a run -----------------------------------------------------------------------------------------


def test_a_method_names_file_digest_and_mapping(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = {"file": "data/pretrained/w.pth", "sha256": "0" * 64, "mapping": "vmamba"}
    method = models.Method(title="t", network="vm_unet", pretrained=[given])
    found = runs.pretrained_of(method)["pretrained"]
    assert found == [given | {"under": "", "mapping": mapping("vmamba")}]
    assert runs.pretrained_of(load.method("vm_unet")) == {}  # what is not there changes no identity
    for change, words in [
        ({"file": "/home/me/w.pth"}, "a path within the project"),
        ({"file": "../w.pth"}, "a path within the project"),
        ({"sha256": "abc"}, "sha256"),
    ]:
        with pytest.raises(SegtraceError, match=words):
            load.validate(models.Pretrained, given | change, where="m")
    with pytest.raises(SegtraceError, match="no such file; did you mean 'vmamba'"):
        runs.pretrained_of(models.Method(title="t", network="n", pretrained=[given | {"mapping": "vmambas"}]))
    with pytest.raises(SegtraceError, match=r"'\^a' to '\\\\2' is no rule"):
        load.validate(models.Mapping, {"title": "t", "rename": [["^a", r"\2"]]}, where="m")


def test_a_run_starts_from_the_file_and_says_so(project):
    torch.manual_seed(5)
    spec = run_with()["network"]
    source = networks.create(
        spec["name"], in_channels=1, out_channels=2, spatial_dims=2, **spec["options"]
    ).state_dict()
    given = entry("w.pth", saved(source))
    run = run_with(epochs=1) | {"pretrained": [given]}
    for folder in ("one", "two"):
        train(dict(run), folder=Path(folder))
    assert contents("one") == contents("two")
    told = json.loads(Path("one/run.json").read_text())
    assert told["pretrained"] == [given]
    assert told["first_weights"] == {
        "files": [{"file": "w.pth", "taken": len(source), "left": {}}],
        "drawn": [],
    }
    before = contents("one")
    train(dict(run), folder=Path("one"))  # already trained
    assert contents("one") == before
    train(run_with(epochs=1), folder=Path("drawn"))
    assert contents("drawn")["weights.safetensors"] != before["weights.safetensors"]
    assert "first_weights" not in json.loads(Path("drawn/run.json").read_text())
