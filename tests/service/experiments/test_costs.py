"""Costs between and beyond the sizes that were measured, and the table that is shipped."""

import pytest

from models_store.contract.catalog import ARCHITECTURES
from models_store.contract.recipes import RECIPES
from service.experiments.costs import costs, interpolated, measurements_of, nearest, with_recipe
from tests.some_costs import an_epoch_cost


def test_measured_size_costs_what_was_measured() -> None:
    measured = {(28, 56): 1.0, (64, 128): 7.0}
    assert interpolated(measured, 28, 56) == 1.0
    assert interpolated(measured, 64, 128) == 7.0


def test_cost_between_two_input_sizes_is_linear_in_pixels() -> None:
    assert interpolated({(28, 10): 1.0, (28, 70): 3.0}, 28, 50) == pytest.approx(2.0)  # 2,500 of 100 to 4,900 pixels


@pytest.mark.parametrize(("input_size", "times"), [(14, 0.25), (28, 1), (56, 4), (128, (128 / 28) ** 2)])
def test_cost_beyond_the_measured_input_sizes_is_in_proportion_to_pixels(input_size: int, times: float) -> None:
    assert interpolated({(28, 28): 0.5}, 28, input_size) == pytest.approx(0.5 * times)


def test_larger_images_cost_more_augmentation_at_the_same_input_size() -> None:
    measured = {(28, 56): 1.0, (64, 56): 3.0}
    assert 1.0 < interpolated(measured, 48, 56) < 3.0
    assert interpolated(measured, 128, 56) == 3.0


def test_cost_of_networks_at_full_image_size_grows_with_it_beyond_the_measured_sizes() -> None:
    assert interpolated({(28, 28): 1.0, (64, 64): 5.0}, 128, 128) == pytest.approx(5.0 * 4)


@pytest.mark.parametrize(
    ("image_size", "input_size", "used"),
    [
        (28, 56, {(28, 56)}),
        (28, 70, {(28, 56), (28, 84)}),
        (28, 224, {(28, 112)}),
        (48, 56, {(28, 56), (64, 56)}),
        (128, 28, {(64, 56)}),
    ],
)
def test_cost_is_taken_from_the_measurements_around_it(
    image_size: int, input_size: int, used: set[tuple[int, int]]
) -> None:
    rows = [
        an_epoch_cost("EffLite_v1", float(seen), image_size=size, input_size=seen)
        for size in (28, 64)
        for seen in (56, 84, 112)
    ]
    assert {(row.image_size, row.input_size) for row in nearest(rows, image_size, input_size)} == used
    assert nearest([], image_size, input_size) == []


def test_other_recipe_is_used_only_where_the_recipe_itself_was_not_measured() -> None:
    classic, modern = an_epoch_cost("CNN_v1", 1.0), an_epoch_cost("CNN_v1", 2.0, recipe="modern")
    assert with_recipe("modern", [classic, modern]) == [modern]
    assert with_recipe("modern", [classic]) == [classic]


def test_shipped_table_has_epochs_of_every_network() -> None:
    assert {row.architecture for row in costs().epochs} == set(ARCHITECTURES)
    assert all(row.seconds_an_image > 0 for row in costs().epochs)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("architecture", ["ConvNet_v1", "EffLite_v1"])
def test_shipped_table_has_networks_that_resize_at_several_sizes_with_each_recipe(
    architecture: str, recipe: str
) -> None:
    rows = [row for row in measurements_of(architecture, costs().epochs) if row.recipe == recipe]
    assert len({row.input_size for row in rows}) > 1
    assert measurements_of(architecture, costs().answers)


def test_shipped_table_names_the_command_that_repeats_measurements_of_a_busy_machine() -> None:
    busy = [row for row in (*costs().epochs, *costs().answers) if row.machine_was_busy]
    assert bool(busy) == ("python -m benchmarks.epoch_costs" in costs().remeasure)
