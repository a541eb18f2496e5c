"""Options of networks, losses and frameworks: a value of the wrong kind is refused before anything is built."""

import inspect

import pytest

from segtrace import losses, networks, registry
from segtrace.errors import SegtraceError, within

POINT = "YAML takes such a number only with a point: 1.0e-4"


@pytest.mark.parametrize(
    ("package", "name", "option", "value", "takes"),
    [
        ("networks", "emis", "base", 0, "a whole number from 1 on"),
        ("networks", "emis", "base", -4, "a whole number from 1 on"),
        ("networks", "emis", "base", 7.5, "a whole number from 1 on"),
        ("networks", "emis", "base", True, "a whole number from 1 on"),
        ("networks", "emis", "places", "x", "a whole number from 1 on"),
        ("networks", "emis", "attention", "no", "true or false, without quotes"),
        ("networks", "emis", "fusion", False, "a word, or null"),
        ("networks", "sc_unext", "reduction", 0, "a whole number from 1 on"),
        ("networks", "sc_unext", "attention", "yes", "true or false, without quotes, or null"),
        ("networks", "unext", "widths", None, "a list of whole numbers from 1 on"),
        ("networks", "unext", "widths", "abcde", "a list of whole numbers from 1 on"),
        ("networks", "unext", "widths", 5, "a list of whole numbers from 1 on"),
        ("networks", "unext", "widths", [8, 16, 32, 64, 1.5], "a list of whole numbers from 1 on"),
        ("networks", "unet", "widths", [0, 2, 3, 4, 5], "a list of whole numbers from 1 on, or null"),
        ("networks", "unet", "variant", ["wide"], "a word"),
        ("losses", "bce_dice", "bce_weight", "0.5", "a number from 0 on"),
        ("losses", "bce_dice", "bce_weight", float("nan"), "a number from 0 on"),
        ("losses", "bce_dice", "smooth", "1e-5", "a number from 0 on; " + POINT),
        ("losses", "bce_dice", "per", ["image"], "a word"),
        ("losses", "bce_dice_edge", "edge_weight", -0.5, "a number from 0 on"),
        ("losses", "dice_ce", "squared", "no", "true or false, without quotes"),
        ("distill", "emis", "alpha", float("inf"), "a number from 0 on"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_what_the_option_takes(package, name, option, value, takes):
    with pytest.raises(SegtraceError) as refused:
        registry.build_of(package, name, {option: value})
    assert str(refused.value) == f"{registry.KINDS[package]} {name!r}: {option} {value!r}; it takes {takes}"


@pytest.mark.parametrize("package", registry.KINDS)
def test_every_default_is_a_value_that_its_option_takes(package):
    """A kind that the check does not know, or a default that it refuses, would hide here."""
    given = registry.GIVEN[package]
    for name in registry.names(package):
        build = registry.build_of(package, name, {})
        parameters = {
            key: parameter
            for key, parameter in inspect.signature(build).parameters.items()
            if key not in given
        }
        registry.build_of(package, name, {key: one.default for key, one in parameters.items()})
        for option in parameters:
            with pytest.raises(SegtraceError, match=f"{option} .*; it takes "):
                registry.build_of(package, name, {option: {}})


def test_a_loss_with_no_term_is_refused():
    with pytest.raises(SegtraceError, match="bce_weight and dice_weight are both 0"):
        losses.create("bce_dice", bce_weight=0, dice_weight=0.0)
    with pytest.raises(SegtraceError, match="its three weights are all 0"):
        losses.create("bce_dice_edge", bce_weight=0, dice_weight=0, edge_weight=0)
    with pytest.raises(SegtraceError, match="its three weights are all 0"):
        losses.create("iou_dice_boundary", iou_weight=0, dice_weight=0, boundary_weight=0)


def test_create_refuses_before_it_builds_and_the_file_is_named():
    words = r"^config/methods/mine\.yaml: network 'emis': base 0; it takes"
    with pytest.raises(SegtraceError, match=words), within("config/methods/mine.yaml"):
        networks.create("emis", in_channels=1, out_channels=1, base=0)
