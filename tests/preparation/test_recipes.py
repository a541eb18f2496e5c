"""Committed recipes as published: the arithmetic of the published program by hand, and what a recipe refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from pydantic import ValidationError

from segtrace.config.models import Dataset, Recipe
from segtrace.preparation import prepare_arrays

CONFIG = Path(__file__).parents[2] / "config/datasets"
#: Means and deviations that albumentations' ``Normalize()`` uses, of red, green and blue between 0 and 1.
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def dataset(name: str, **changes: Any) -> Dataset:
    return Dataset.model_validate(yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) | changes)


def prepared(name: str, recipe: str, colour: tuple[int, ...]) -> np.ndarray:
    """The first pixel of an image of one colour, channel by channel."""
    data = dataset(name)
    image = sitk.GetImageFromArray(np.full((8, 8, len(colour)), colour, np.uint8), isVector=len(colour) > 1)
    if len(colour) == 1:
        image = sitk.GetImageFromArray(np.full((8, 8), colour[0], np.uint8))
    made = prepare_arrays(image, None, data.recipes[recipe].model_dump(), labels=[1])
    size = data.recipes[recipe].size
    assert size is not None
    assert made.image.shape == (data.recipes[recipe].channel_count(len(colour)), size[1], size[0])
    pixels: np.ndarray = made.image[:, 0, 0]
    return pixels


def published(blue_green_red: tuple[float, ...]) -> list[float]:
    """What the published program gives the network, step by step: Normalize(), then / 255."""
    return [
        (value - 255 * mean) / (255 * deviation) / 255
        for value, mean, deviation in zip(blue_green_red, MEANS, DEVIATIONS, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("isic2018", "rgb256_as_published"),
        ("isic2018", "rgb512_as_published"),
        ("isic2017", "rgb512_as_published"),
    ],
)
def test_skin_images_as_published_are_blue_first_and_divided_twice(name: str, recipe: str) -> None:
    found = prepared(name, recipe, (200, 100, 50))  # red, green, blue
    assert found == pytest.approx(published((50, 100, 200)), rel=1e-5)
    # (50 − 123.675) / 58.395 / 255, (100 − 116.28) / 57.12 / 255, (200 − 103.53) / 57.375 / 255
    assert found == pytest.approx([-0.0049477, -0.0011177, 0.0065937], abs=1e-7)
    assert dataset(name).recipes[recipe].input == "as_published"


def test_grey_images_as_published_become_three_channels() -> None:
    assert prepared("busi", "grey256_as_published", (80,)) == pytest.approx(published((80, 80, 80)), rel=1e-5)


def test_the_clean_recipe_keeps_the_order_and_scales_once() -> None:
    found = prepared("isic2018", "rgb256", (200, 100, 50))
    assert found == pytest.approx([200 / 255, 100 / 255, 50 / 255], rel=1e-6)
    assert dataset("isic2018").recipes["rgb256"].input == "clean"


def test_the_first_recipe_of_a_data_set_is_clean() -> None:
    """It is what ``experiments=NAME`` takes."""
    for path in sorted(CONFIG.glob("*.yaml")):
        recipes = dataset(path.stem).recipes
        assert next(iter(recipes.values())).input == "clean", path.stem


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"kind": "standardise", "mean": [1.0]}, "needs mean and deviation"),
        ({"kind": "standardise", "mean": [1.0], "deviation": [0.0]}, "greater than 0"),
        ({"kind": "minmax", "low": 0.0}, "minmax has no use for low"),
        ({"kind": "zscore", "together": True}, "zscore has no use for together"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({"intensity": [step]})


def test_recipes_that_do_not_fit_the_channels_are_refused() -> None:
    steps = [{"kind": "standardise", "mean": [1, 2], "deviation": [1]}]
    with pytest.raises(
        ValidationError, match=r"recipes.a: 2 values of mean; give 1, or one for each of 3 channels"
    ):
        dataset("isic2018", recipes={"a": {"intensity": steps}})
    with pytest.raises(ValidationError, match=r"recipes.a: channel 3 of channels; the data set has 0 to 2"):
        dataset("isic2018", recipes={"a": {"channels": [3]}})
    with pytest.raises(ValidationError, match="needs a source"):
        Recipe.model_validate({"faults": ["it is divided twice"]})
