"""Colours and pictures."""

from __future__ import annotations

import io
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from st_ray.report import class_colours, false_colour
from st_ray.report.palette import UNLABELLED
from st_ray.report.pictures import (
    RIGHT,
    WRONG,
    class_picture,
    data_uri,
    error_picture,
    png,
    zoom_for,
)

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
"""Machado et al. 2009, severity 1, on linear RGB."""


def _deuteranope(colour: tuple[int, int, int]) -> np.ndarray:
    linear = (np.array(colour) / 255) ** 2.2
    return 255 * np.clip(linear @ DEUTERANOPIA.T, 0, 1) ** (1 / 2.2)


def test_a_class_keeps_its_colour_when_more_classes_follow():
    assert class_colours(60)[:16] == class_colours(16)


def test_sixty_classes_have_sixty_colours_apart_from_the_unlabelled_one():
    assert len({*class_colours(60), UNLABELLED}) == 61


def test_the_first_sixteen_colours_differ_for_normal_and_deuteranope_sight():
    for first, second in combinations(class_colours(16), 2):
        assert np.linalg.norm(np.subtract(first, second)) > 55
        assert np.linalg.norm(_deuteranope(first) - _deuteranope(second)) > 18


def test_class_ids_with_gaps_take_colours_by_order_and_unknown_ids_are_dark():
    picture = class_picture(np.array([[0, 3, 7], [9, -1, 5]]), (3, 7))
    blue, orange = class_colours(2)
    expected = [[UNLABELLED, blue, orange], [UNLABELLED, UNLABELLED, UNLABELLED]]
    np.testing.assert_array_equal(picture, expected)


def test_colouring_large_class_ids_takes_no_more_memory_than_small_ones():
    largest = 20_000_000
    tracemalloc.start()
    picture = class_picture(np.array([[largest, 7, largest - 1]], np.int32), (largest, 7))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(picture[0], [*class_colours(2), UNLABELLED])
    assert peak < 1e6


def test_error_picture_marks_only_test_pixels():
    class_map, labels, parts = [[1, 2, 2, 2]], [[1, 1, 1, 0]], [[3, 3, 1, 0]]
    picture = error_picture(class_map, labels, parts)
    np.testing.assert_array_equal(picture, [[RIGHT, WRONG, UNLABELLED, UNLABELLED]])


def test_false_colour_stretches_the_2nd_to_98th_percentile_of_each_band():
    ramp = np.linspace(-3.0, 9.0, 101 * 101).reshape(101, 101)
    picture = false_colour(np.stack([ramp, -ramp, 1000 * ramp], axis=2))
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[50, 50], 127.5, atol=0.5)
    np.testing.assert_array_equal(picture[:2].reshape(-1, 3)[0], [0, 255, 0])
    np.testing.assert_array_equal(picture[-1, -1], [255, 0, 255])
    np.testing.assert_allclose(picture[..., 0], picture[..., 2].astype(float), atol=1)
    assert (picture[..., 0] == 0).mean() == pytest.approx(0.02, abs=0.003)


def test_false_colour_survives_nan_and_constant_bands():
    bands = np.random.default_rng(0).normal(size=(8, 9, 3))
    bands[..., 1] = 4.0
    bands[2, 3, 0] = np.nan
    bands[5, 5, 2] = np.inf
    picture = false_colour(bands)
    assert picture[2, 3].tolist() == picture[5, 5].tolist() == [0, 0, 0]
    assert set(np.delete(picture[..., 1].ravel(), [2 * 9 + 3, 5 * 9 + 5])) == {128}
    assert not false_colour(np.full((4, 5, 3), np.nan)).any()


@pytest.mark.parametrize(("shape", "zoom"), [((145, 145), 6), ((349, 1905), 1), ((1, 1), 1000)])
def test_the_zoom_is_whole_and_never_shrinks(shape: tuple[int, int], zoom: int):
    assert zoom_for(shape) == zoom


def test_png_draws_each_pixel_as_a_square_of_its_colour():
    picture = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    drawn = np.asarray(Image.open(io.BytesIO(png(picture, zoom=3))))
    np.testing.assert_array_equal(drawn, picture.repeat(3, axis=0).repeat(3, axis=1))


def test_a_large_scene_is_thinned_for_the_page():
    import base64

    uri = data_uri(np.zeros((50, 3300, 3), np.uint8), longest=1600)
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).size == (1100, 17)
