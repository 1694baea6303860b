import colorsys
import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from PIL import Image

from tf_directpred.data import RECIPES, Recipe, augment, find_recipe, normalize
from tf_directpred.data import augmentation, colour, resampling

ORDERS = tuple(itertools.permutations(("brightness", "contrast", "saturation", "hue")))
LUMINANCE = np.array([0.2989, 0.587, 0.114])


def photos(batch=8, height=32, width=32, seed=0):
    """Smooth random pictures: unlike noise, resampling and hue behave on them as on photographs."""
    noise = np.random.default_rng(seed).random((batch, height, width, 3))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 2, 2, 0), mode="wrap")
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    return np.round(255 * (smooth - low) / (high - low)).astype(np.uint8)


def to_planar(images):
    """Channels last to `(batch, width, 3, height)`."""
    return np.transpose(images, (0, 2, 3, 1)).astype(np.float32)


def channels_last(planar):
    return np.transpose(planar, (0, 3, 1, 2))


@pytest.mark.parametrize("recipe", ["directpred_stl", "byol_imagenet_T_prime", "digits", "none"])
def test_same_seed_same_views_eagerly_in_tf_data_and_compiled(recipe):
    images = tf.constant(photos())

    def views(step):
        return augment(images, recipe, seed=tf.stack([7, step]))

    eager = views(3).numpy()
    mapped = next(iter(tf.data.Dataset.range(3, 4).map(lambda t: views(tf.cast(t, tf.int32))))).numpy()
    compiled = tf.function(views, jit_compile=True)(tf.constant(3)).numpy()
    assert eager.dtype == np.float32 and np.isfinite(eager).all()
    np.testing.assert_allclose(mapped, eager, atol=1e-4)
    np.testing.assert_allclose(compiled, eager, atol=1e-4)
    if recipe != "none":
        assert np.abs(views(4).numpy() - eager).mean() > 0.05


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"none"}))
def test_every_image_has_its_own_parameters(recipe):
    images = np.repeat(photos(1), 8, axis=0)
    views = augment(images, recipe, seed=(0, 0)).numpy()
    for one, other in itertools.combinations(views, 2):
        assert np.abs(one - other).mean() > 0.02


def test_a_tuple_a_tensor_and_64_bits_are_the_same_seed():
    expected = augment(photos(), "digits", (1, 2)).numpy()
    for dtype in (tf.int32, tf.int64):
        np.testing.assert_array_equal(augment(photos(), "digits", tf.constant([1, 2], dtype)), expected)
    for seed in ((2, 1), (1, 3), (0, 2)):
        assert np.abs(augment(photos(), "digits", seed).numpy() - expected).mean() > 0.02


def test_uniforms_are_uniform_and_independent_between_columns_and_seeds():
    draws = augmentation.uniforms((3, 4), 4000, 3).numpy()
    assert draws.min() >= 0 and draws.max() < 1
    for column in draws.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 0.01
    other = augmentation.uniforms((3, 5), 4000, 3).numpy()
    columns = np.concatenate([draws, other], axis=1)
    assert np.abs(np.corrcoef(columns.T) - np.eye(6)).max() < 0.06


# Parameters ---------------------------------------------------------------------------------------------


def torchvision_box(rng, height, width, recipe):
    """One crop as torchvision's RandomResizedCrop.get_params draws it."""
    for _ in range(10):
        area = height * width * rng.uniform(*recipe.crop_area)
        ratio = np.exp(rng.uniform(*np.log(recipe.crop_ratio)))
        w, h = int(round(np.sqrt(area * ratio))), int(round(np.sqrt(area / ratio)))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    low, high = recipe.crop_ratio
    w, h = min(width, round(height * high)), min(height, round(width / low))
    return (height - h) // 2, (width - w) // 2, h, w


def deepmind_box(rng, height, width, recipe):
    area = height * width * rng.uniform(*recipe.crop_area)
    ratio = np.exp(rng.uniform(*np.log(recipe.crop_ratio)))
    w, h = min(width, round(np.sqrt(area * ratio))), min(height, round(np.sqrt(area / ratio)))
    return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w


@pytest.mark.parametrize(
    "convention, reference", [("torchvision", torchvision_box), ("deepmind", deepmind_box)]
)
@pytest.mark.parametrize("height, width", [(224, 224), (96, 200), (600, 90)])
def test_crop_windows_are_distributed_as_the_original(convention, reference, height, width):
    recipe, count = Recipe(convention=convention), 3000
    draws = augmentation.sample_parameters(recipe, (1, 0), count)["crop"]
    boxes = augmentation.crop_boxes(recipe, draws, height, width).numpy()
    rng = np.random.default_rng(5)
    expected = np.array([reference(rng, height, width, recipe) for _ in range(count)])
    assert boxes[:, :2].min() >= 0
    assert (boxes[:, 0] + boxes[:, 2] <= height).all() and (boxes[:, 1] + boxes[:, 3] <= width).all()

    def measures(box):
        top, left, h, w = box.T.astype(float)
        return h * w, w / h, top, left, h, w

    for ours, theirs in zip(measures(boxes), measures(expected)):
        assert scipy.stats.ks_2samp(ours, theirs).pvalue > 0.005


def test_every_position_of_a_crop_is_equally_likely():
    recipe = Recipe(crop_area=(0.25, 0.25), crop_ratio=(1.0, 1.0))
    boxes = augmentation.crop_boxes(
        recipe, augmentation.sample_parameters(recipe, (0, 1), 8000)["crop"], 8, 8
    )
    assert (boxes[:, 2:].numpy() == 4).all()
    for positions in boxes.numpy().T[:2]:
        assert scipy.stats.chisquare(np.bincount(positions, minlength=5)).pvalue > 0.01


def test_a_crop_that_never_fits_is_the_largest_central_one():
    recipe = Recipe(crop_area=(1.0, 1.0), crop_ratio=(0.75, 4 / 3))
    draws = augmentation.sample_parameters(recipe, (0, 1), 16)["crop"]
    np.testing.assert_array_equal(augmentation.crop_boxes(recipe, draws, 30, 90), [[0, 25, 30, 40]] * 16)
    np.testing.assert_array_equal(augmentation.crop_boxes(recipe, draws, 91, 30), [[25, 0, 40, 30]] * 16)


@pytest.mark.parametrize("convention", ["torchvision", "deepmind"])
def test_colour_factors_have_their_ranges_and_probabilities(convention):
    recipe = Recipe(jitter=(0.4, 0.3, 1.5, 0.1), blur=0.5, solarize=0.3, convention=convention)
    count = 6000
    drawn = {k: v.numpy() for k, v in augmentation.sample_parameters(recipe, (2, 4), count).items()}
    additive = convention == "deepmind"
    ranges = {
        "brightness": (-0.4, 0.4, 0.0) if additive else (0.6, 1.4, 1.0),
        "contrast": (0.7, 1.3, 1.0),
        "saturation": (0.0, 2.5, 1.0),
        "hue": (-0.1, 0.1, 0.0),
    }
    jittered = drawn["contrast"] != 1.0
    for name, (low, high, neutral) in ranges.items():
        np.testing.assert_array_equal(drawn[name] != neutral, jittered)
        assert scipy.stats.kstest(drawn[name][jittered], "uniform", (low, high - low)).pvalue > 0.01
    blurred = drawn["sigma"] >= recipe.blur_sigma[0]
    assert scipy.stats.kstest(drawn["sigma"][blurred], "uniform", (0.1, 1.9)).pvalue > 0.01
    probabilities = {"flip": 0.5, "grey": 0.2, "solarize": 0.3}
    for happened, p in [(jittered, 0.8), (blurred, 0.5)] + [(drawn[k], p) for k, p in probabilities.items()]:
        assert scipy.stats.binomtest(int(happened.sum()), count, p).pvalue > 0.01
    assert scipy.stats.chisquare(np.bincount(drawn["order"], minlength=24)).pvalue > 0.01


# Pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source, target", [((32, 32), (32, 32)), ((40, 60), (24, 24)), ((40, 20), (24, 24)), ((50, 37), (96, 80))])
def test_crop_equals_pillow(source, target):
    images = photos(16, *source)
    recipe = Recipe()
    boxes = augmentation.crop_boxes(
        recipe, augmentation.sample_parameters(recipe, (0, 4), 16)["crop"], *source
    )
    flip = np.arange(16) % 2 == 1
    cropped = augmentation.apply_crop(images, boxes, tf.constant(flip), recipe, target)
    for image, box, mirrored, ours in zip(images, boxes.numpy(), flip, channels_last(cropped)):
        top, left, height, width = box
        window = Image.fromarray(image[top : top + height, left : left + width])
        theirs = np.asarray(window.resize(target[::-1], Image.Resampling.BILINEAR), np.float32)
        assert np.abs(255 * ours - (theirs[:, ::-1] if mirrored else theirs)).max() <= 2


def test_bicubic_crop_equals_tf_image():
    images = photos(6, 40, 30)
    boxes = np.array(
        [[0, 0, 40, 30], [3, 5, 20, 20], [10, 2, 7, 25], [39, 29, 1, 1], [1, 1, 30, 9], [5, 5, 24, 24]]
    )
    recipe = Recipe(convention="deepmind")
    ours = augmentation.apply_crop(images, tf.constant(boxes), tf.zeros(6, tf.bool), recipe, (24, 24))
    for image, (top, left, height, width), view in zip(images, boxes, channels_last(ours)):
        window = image[top : top + height, left : left + width] / np.float32(255)
        theirs = tf.image.resize(window, (24, 24), tf.image.ResizeMethod.BICUBIC)
        np.testing.assert_allclose(view, np.clip(theirs, 0, 1), atol=2e-3)


def in_numpy(image, names, factors, convention):
    """One image `(h, w, 3)` in [0, 1] through the named operations, one after the other, pixel by pixel."""
    for name in names:
        f = factors[name]
        grey = (image @ LUMINANCE)[..., None]
        if name == "hue" or (name == "saturation" and convention == "deepmind"):
            for y, x in np.ndindex(image.shape[:2]):
                h, s, v = colorsys.rgb_to_hsv(*image[y, x])
                h, s = ((h + f) % 1, s) if name == "hue" else (h, min(s * f, 1))
                image[y, x] = colorsys.hsv_to_rgb(h, s, v)
        elif convention == "torchvision":
            other = {"brightness": 0.0, "contrast": grey.mean(), "saturation": grey}[name]
            image = f * image + (1 - f) * other
        elif name == "brightness":
            image = image + f
        else:
            mean = image.mean((0, 1))
            image = f * (image - mean) + mean
        image = np.clip(image, 0, 1)
    return image


@pytest.mark.parametrize("convention", ["torchvision", "deepmind"])
def test_jitter_in_each_order_equals_numpy(convention):
    images = photos(24, 6, 6) / 255.0
    rng = np.random.default_rng(1)
    low = -0.5 if convention == "deepmind" else 0.4
    parameters = {
        "brightness": rng.uniform(low, 0.5 if low < 0 else 1.6, 24),
        "contrast": rng.uniform(0.3, 1.9, 24),
        "saturation": rng.uniform(0, 2.5, 24),
        "hue": rng.uniform(-0.5, 0.5, 24),
    }
    recipe = Recipe(convention=convention, grey=0.0)
    tensors = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}
    planar = tf.constant(to_planar(images))
    ours = augmentation.apply_colour(planar, {**tensors, "order": tf.range(24)}, recipe).numpy()
    for i, names in enumerate(ORDERS):
        factors = {name: value[i] for name, value in parameters.items()}
        np.testing.assert_allclose(ours[i], in_numpy(images[i].copy(), names, factors, convention), atol=2e-5)


def test_hue_full_turn_is_none_and_grey_has_no_hue():
    planar = tf.constant(to_planar(photos(2) / 255.0))
    np.testing.assert_allclose(colour.adjust_hue(planar, tf.constant([1.0, -2.0])), planar, atol=1e-5)
    grey = tf.repeat(colour.to_grey(planar), 3, axis=2)
    np.testing.assert_allclose(colour.adjust_hue(grey, tf.constant([0.3, -0.4])), grey, atol=1e-6)


@pytest.mark.parametrize("convention, mode", [("torchvision", "mirror"), ("deepmind", "constant")])
def test_blur_equals_scipy(convention, mode):
    images, sigma, kernel = photos(4, 20, 28) / 255.0, np.array([0.1, 0.8, 2.0, 1e-3]), 9
    recipe = Recipe(jitter_probability=0, grey=0, blur=1.0, blur_kernel=kernel, convention=convention)
    planar = tf.constant(to_planar(images))
    ours = augmentation.apply_colour(planar, {"sigma": tf.constant(sigma, tf.float32)}, recipe).numpy()
    for image, s, blurred in zip(images, sigma, ours):
        theirs = scipy.ndimage.gaussian_filter(image, (s, s, 0), mode=mode, radius=(4, 4, 0))
        np.testing.assert_allclose(blurred, theirs, atol=1e-5)
    np.testing.assert_array_equal(ours[3], channels_last(planar)[3])


def test_a_window_wider_than_the_image_reaches_its_border():
    matrices = resampling.blur_matrices(tf.constant([2.0]), 5, 23, "torchvision").numpy()
    np.testing.assert_allclose(matrices.sum(2), 1, atol=1e-6)


def test_grey_solarise_and_normalise():
    planar = tf.constant(to_planar(photos(2) / 255.0))
    chosen = {"grey": tf.constant([True, False]), "solarize": tf.constant([False, True])}
    recipe = Recipe(jitter_probability=0, solarize=0.5, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    ours = augmentation.apply_colour(planar, chosen, recipe).numpy() * recipe.std + recipe.mean
    first, second = photos(2) / 255.0
    np.testing.assert_allclose(ours[0], np.repeat((first @ LUMINANCE)[..., None], 3, 2), atol=1e-5)
    np.testing.assert_allclose(ours[1], np.where(second < 0.5, second, 1 - second), atol=1e-5)


def test_normalize_is_what_an_unaugmented_view_is():
    plain = dataclasses.replace(RECIPES["none"], mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    np.testing.assert_allclose(normalize(photos(), plain), augment(photos(), plain, (0, 0)), atol=1e-6)
    np.testing.assert_allclose(normalize(photos(), "none"), photos() / np.float32(255), atol=1e-6)
    cifar = normalize(photos(), "directpred_cifar").numpy()
    np.testing.assert_allclose(
        cifar * [0.2023, 0.1994, 0.2010] + [0.4914, 0.4822, 0.4465], photos() / 255.0, atol=1e-5
    )


def test_view_sizes():
    assert augment(photos(), "digits", (0, 0)).shape == (8, 24, 24, 3)
    assert augment(photos(), "digits(size=28)", (0, 0)).shape == (8, 28, 28, 3)
    assert augment(photos(), "simclr_cifar", (0, 0), size=(16, 20)).shape == (8, 16, 20, 3)
    assert augment(photos(4, 40, 30), "simclr_cifar", (0, 0)).shape == (4, 40, 30, 3)


def test_batches_of_unknown_size():
    def views(images):
        return augment(images, "directpred_stl", (0, 0))

    unknown = tf.function(views, input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.uint8)])
    np.testing.assert_allclose(unknown(photos()), views(photos()), atol=1e-4)


def test_recipes_by_spec():
    assert find_recipe("digits(blur=0.25)") == dataclasses.replace(RECIPES["digits"], blur=0.25)
    with pytest.raises(
        ValueError, match=r"Unknown augmentation recipe 'moco'. Known: .*directpred_cifar.*simclr_cifar"
    ):
        find_recipe("moco")
    with pytest.raises(ValueError, match="no field blurr. Allowed: size, crop_area.*blur,"):
        find_recipe("digits(blurr=1)")
    for recipe in RECIPES.values():
        assert recipe.other_view is None or recipe.other_view in RECIPES
