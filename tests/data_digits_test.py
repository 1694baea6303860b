import numpy as np
import pytest
from sklearn.datasets import load_digits

from tf_directpred.data import SOURCES


def scans(images):
    return [image.tobytes() for image in images]


@pytest.fixture(scope="module")
def cluttered():
    return SOURCES.create("digits")


def test_sizes_and_shapes(cluttered):
    assert cluttered.image_shape == (32, 32, 3) and cluttered.num_classes == 10
    images, labels = cluttered.splits["train"].arrays()
    assert images.shape == (7000, 32, 32, 3) and images.dtype == np.uint8
    assert cluttered.splits["test"].size == 397
    assert SOURCES.create("digits(renderings=2)").splits["train"].size == 2800
    assert np.bincount(labels).min() > 600


def test_no_scan_is_shared_between_train_and_test():
    plain = SOURCES.create("digits(clutter=False)")
    train, test = (plain.splits[name].arrays()[0] for name in ("train", "test"))
    assert (len(train), len(test)) == (1400, 397)
    # All 1,797 scans differ, so as many different pictures mean that none appears twice.
    assert len(np.unique(load_digits().data, axis=0)) == 1797
    assert len(set(scans(train) + scans(test))) == 1797


def test_validation_takes_training_scans_only():
    plain = SOURCES.create("digits(clutter=False)")
    validation = SOURCES.create("digits(clutter=False, validation=True)")
    train, held = (scans(validation.splits[name].arrays()[0]) for name in ("train", "test"))
    assert (len(train), len(held)) == (1100, 300)
    assert set(train) | set(held) == set(scans(plain.splits["train"].arrays()[0]))
    assert not set(held) & set(train)


def test_labels_belong_to_the_scans():
    plain = SOURCES.create("digits(clutter=False)")
    images, labels = plain.splits["test"].arrays()
    data = load_digits()
    small = images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(len(images), 64) / 255 * 16
    nearest = np.argmin(((small[:, None] - data.data[None]) ** 2).mean(2), axis=1)
    assert (data.target[nearest] == labels).mean() > 0.99


def test_renderings_are_the_same_every_time_and_in_every_partition(cluttered):
    again = SOURCES.create("digits(renderings=1)")
    np.testing.assert_array_equal(
        cluttered.splits["train"].arrays()[0][:1400], again.splits["train"].arrays()[0]
    )
    validation = SOURCES.create("digits(renderings=1, validation=True)")
    held = validation.splits["test"].arrays()[0]
    np.testing.assert_array_equal(held, again.splits["train"].arrays()[0][1100:])
    # The pictures themselves, as first rendered.
    test = cluttered.splits["test"].arrays()[0].astype(float)
    expected = [[120.6, 140.9, 47.1], [130.3, 37.8, 37.5], [122.4, 74.4, 144.4]]
    np.testing.assert_allclose(test[:3].mean((1, 2)), expected, atol=0.5)


def test_renderings_of_a_scan_differ_and_carry_its_label(cluttered):
    images, labels = cluttered.splits["train"].arrays()
    np.testing.assert_array_equal(labels.reshape(5, 1400), np.tile(labels[:1400], (5, 1)))
    assert len(set(scans(images))) == 7000


def test_digits_are_lighter_than_their_background(cluttered):
    images = cluttered.splits["test"].arrays()[0] / 255.0
    light = images @ [0.299, 0.587, 0.114]
    brightest = np.sort(light.reshape(len(light), -1), axis=1)[:, -30:].mean(1)
    assert (brightest - np.median(light, axis=(1, 2)) > 0.2).mean() > 0.97


@pytest.mark.parametrize("value", ["0", "-1", "1.5"])
def test_bad_renderings(value):
    with pytest.raises(
        ValueError, match=f"renderings must be a positive integer. Received: renderings={value}"
    ):
        SOURCES.create(f"digits(renderings={value})")


def test_unknown_option_names_the_signature():
    with pytest.raises(
        ValueError, match="takes no argument colour. Allowed: digits.clutter=True, renderings=5"
    ):
        SOURCES.create("digits(colour=1)")
