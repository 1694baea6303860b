"""Features: what extraction returns and must not change, and pixels as features."""

import keras
import numpy as np
import pytest

from tf_directpred.probes import features
from tf_directpred.probes.features import extract
from tf_directpred.probes.pixels import grey_pixels, raw_pixels


def _encoder(dtype="float32"):
    with_norm = [keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.BatchNormalization(dtype=dtype)]
    return keras.Sequential([keras.Input((4, 4, 3)), *with_norm])


def _batches(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, 4, 4, 3)).astype("float32"), rng.integers(0, 9, n)) for n in sizes]


def test_extract_is_inference_over_all_batches_and_changes_nothing():
    encoder, batches = _encoder(), _batches((8, 8, 3))
    before = [w.copy() for w in encoder.get_weights()]
    found, labels = extract(encoder, batches)
    assert found.dtype == np.float32 and found.shape == (19, 5)
    expected = np.concatenate([encoder(images, training=False) for images, _ in batches])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, np.concatenate([y for _, y in batches]))
    for now, then in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_extract_takes_half_precision_encoders_and_plain_functions():
    found, _ = extract(_encoder("bfloat16"), _batches((4,)))
    assert found.dtype == np.float32
    doubled, _ = extract(lambda images: 2.0 * images.reshape(len(images), -1), _batches((4, 2)))
    np.testing.assert_array_equal(doubled[:4], 2.0 * _batches((4,))[0][0].reshape(4, -1))


def test_extract_of_nothing_is_refused():
    with pytest.raises(ValueError, match="^batches must hold at least one batch"):
        extract(_encoder(), [])


def test_only_long_runs_are_counted_on_screen(monkeypatch, capsys):
    extract(_encoder(), _batches((4, 4)))
    assert capsys.readouterr().err == ""
    clock = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr(features.time, "monotonic", lambda: next(clock))
    extract(lambda images: images[:, 0, 0], _batches((4, 4)))
    assert capsys.readouterr().err == "\rfeatures of 8 images, 0/s\n"


def test_raw_pixels_are_the_image_in_unit_range():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 32, 3), "uint8")
    np.testing.assert_allclose(raw_pixels(images), images.reshape(3, -1) / 255.0, rtol=1e-6)


@pytest.mark.parametrize("shape, blocks", [((64, 64), (2, 2)), ((96, 32), (3, 1)), ((16, 64), (1, 2))])
def test_larger_sides_are_averaged_over_areas(shape, blocks):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), "uint8")
    (high, wide), (a, b) = shape, blocks
    expected = images.reshape(2, high // a, a, wide // b, b, 3).mean((2, 4)) / 255.0
    np.testing.assert_allclose(raw_pixels(images), expected.reshape(2, -1), atol=1e-5)


def test_grey_pixels_are_blind_to_brightness_and_weigh_the_colours():
    images = np.random.default_rng(0).integers(0, 200, (3, 8, 8, 3), "uint8")
    found = grey_pixels(images)
    grey = images / 255.0 @ [0.2989, 0.587, 0.114]
    np.testing.assert_allclose(found, (grey - grey.mean((1, 2), keepdims=True)).reshape(3, -1), atol=1e-6)
    np.testing.assert_allclose(grey_pixels(images + np.uint8(40)), found, atol=1e-6)


def test_pixels_of_float_images_are_refused():
    with pytest.raises(ValueError, match="^images must be uint8. Received: float32"):
        raw_pixels(np.zeros((1, 4, 4, 3), "float32"))
