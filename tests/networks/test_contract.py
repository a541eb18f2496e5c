"""What the engine and other programs ask of every registered network, beside `test_networks.py`.

That file holds shapes of features, a gradient for every parameter, equal bits twice, bfloat16 and the round trip of weights;
this one sizes that the network cannot divide, numbers of channels and classes, and ONNX.
"""

import io
import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from registered_networks import all_logits, registry
from segtrace import losses, networks, sliding, windows
from segtrace.config.models import Augmentation, Crop
from segtrace.errors import SegtraceError
from segtrace.train import data
from segtrace.train.sampling import Labelled

torch.set_num_threads(1)  # small tensors: more threads only wait for each other

#: Networks that the exporter by tracing cannot write, for an operator that it lacks: volumetric grid_sample. The
#: exporter by torch.export knows it, and takes ten times as long.
EXPORTED = {"cotr"}
#: Channels that a network does not take, as its documentation says: it must say so, too.
REFUSED = {("vnet", 3)}


def make(name: str, dims: int, options: dict, *, channels: int = 2, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return networks.create(name, in_channels=channels, out_channels=classes, spatial_dims=dims, **options)


def side(network: nn.Module) -> int:
    """Two of what the network divides by, or the one side that it takes: no level is a single voxel."""
    fixed = getattr(network, "fixed_size", None)
    return int(fixed[0] if fixed else 2 * network.divisor)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@registry
def test_images_that_the_network_cannot_divide_are_padded_and_cut(
    name: str, dims: int, options: dict
) -> None:
    network = make(name, dims, options).eval()
    whole = side(network)
    image = noise(2, *(whole - 3, whole - 1, whole - 2)[:dims])
    window = None if not hasattr(network, "fixed_size") else [whole] * dims
    found = sliding.predict_logits(network, image, window=window)
    padded, inside = windows.pad_to(image, [whole] * dims)
    with torch.inference_mode():
        expected = network(padded[None])[0]
    assert found.shape == (3, *image.shape[1:])
    assert torch.isfinite(found).all()
    assert torch.equal(found, expected[(slice(None), *inside)])


@registry
def test_crops_of_odd_images_train_it(name: str, dims: int, options: dict) -> None:
    network = make(name, dims, options).train()
    size = [side(network)] * dims
    shape = (size[0] - 3, size[0] + 5, size[0] + 1)[
        :dims
    ]  # smaller than the crop on one axis, larger on the others
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(4, 4 + value) for value in (5, 6, 7)[:dims])] = 1
    case = data.Case(noise(2, *shape).numpy(), label, Labelled.of(label))
    cases = data.Cases({"odd": case}, torch.device("cpu"), None)
    crop = Crop(size=size, per_case=2).model_dump()
    run = {"seed": 0, "training": {"crop": crop, "augmentation": Augmentation().model_dump()}}
    images, labels = data.make(cases, data.draw(cases, ["odd"], run=run, epoch=0), run=run)
    assert images.shape == (2, 2, *size)
    loss = losses.create("dice_ce")(network(images), labels)
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 1), (4, 5)])
@registry
def test_channels_and_classes_are_free(
    name: str, dims: int, options: dict, channels: int, classes: int
) -> None:
    if (name, channels) in REFUSED:
        with pytest.raises(SegtraceError, match=f"{name}: in_channels {channels}; it takes"):
            make(name, dims, options, channels=channels, classes=classes)
        return
    network = make(name, dims, options, channels=channels, classes=classes)
    size = (side(network),) * dims
    outputs = all_logits(network, noise(2, channels, *size))
    assert {output.shape for output in outputs} == {(2, classes, *size)}
    sum(output.square().mean() for output in outputs).backward()
    without = [key for key, p in network.named_parameters() if p.grad is None]
    assert without == []


def exported(network: nn.Module, x: Tensor, *, traced: bool) -> bytes:
    """The network as ONNX; what exporters say of themselves is not shown."""
    buffer = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if traced:
                torch.onnx.export(network, (x,), buffer, dynamo=False, opset_version=18)
            else:
                torch.onnx.export(network, (x,), dynamo=True, opset_version=20, verbose=False).save(buffer)
    finally:
        logger.setLevel(level)
    return buffer.getvalue()


@registry
def test_onnx_gives_the_same_logits(name: str, dims: int, options: dict) -> None:
    network = make(name, dims, options)
    x = noise(1, 2, *(side(network),) * dims)
    with torch.no_grad():
        network(torch.cat([x, x + 1]))  # moves the running statistics
    network.eval()
    written = exported(network, x, traced=name not in EXPORTED)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(written, settings, providers=["CPUExecutionProvider"])
    other = noise(3, *x.shape[1:])[2:]  # not what was traced
    for image in (x, other):
        (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.inference_mode():
            expected = network(image)
        scale = max(1.0, float(expected.abs().max()))
        assert np.abs(found - expected.numpy()).max() <= 1e-4 * scale
