"""Encoders: the published architectures, parameter by parameter, and what every registered one must do."""

import keras
import numpy as np
import pytest

from tf_directpred.networks import ENCODERS, BatchNormalization, convnet, resnet18, resnet50


def _trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def _up_to(model, layer):
    return keras.Model(model.input, model.get_layer(layer).output)


def _images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("name", ENCODERS.names())
def test_every_encoder_maps_images_of_any_size_to_vectors(name):
    encoder = ENCODERS.create(name, input_shape=(None, None, 3), synchronized=True)
    width = encoder.output_shape[-1]
    assert encoder.output_shape == (None, width)
    assert encoder(_images(2, 32, 32, 3)).shape == (2, width)
    assert encoder(_images(1, 40, 56, 3)).shape == (1, width)
    norms = [layer for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms and all(type(n) is BatchNormalization and n.synchronized for n in norms)
    assert all(layer.name.replace("_", "").isalnum() for layer in encoder.layers)


@pytest.mark.parametrize(
    "spec, parameters",
    [
        # torchvision's counts without the classifier; the CIFAR stem has 3x3, not 7x7 windows.
        ("resnet18(stem='imagenet')", 11_176_512),
        ("resnet18(stem='cifar')", 11_168_832),
        ("resnet34(stem='imagenet')", 21_284_672),
        ("resnet50(stem='imagenet')", 23_508_032),
        ("convnet(widths=(4, 8), strides=(2, 1))", 27 * 4 + 8 + 36 * 8 + 16),
    ],
)
def test_parameter_counts(spec, parameters):
    assert _trainable(ENCODERS.create(spec)) == parameters


@pytest.mark.parametrize(
    "stem, sides", [("imagenet", (32, 16, 16, 8, 4, 2)), ("cifar", (64, 64, 64, 32, 16, 8))]
)
def test_resolution_of_every_stage(stem, sides):
    model = resnet18((64, 64, 3), stem=stem, width=4)
    pooled = "stem_pool" if stem == "imagenet" else "stem_relu"
    names = ["stem_conv", pooled] + [f"stage{i}_block2_out" for i in (1, 2, 3, 4)]
    assert tuple(model.get_layer(name).output.shape[1] for name in names) == sides


def test_resnet50_strides_the_3x3_convolution_and_the_shortcut():
    model = resnet50(width=4)
    strided = {layer.name for layer in model.layers if getattr(layer, "strides", None) == (2, 2)}
    blocks = {f"stage{i}_block1_{part}" for i in (2, 3, 4) for part in ("conv2", "shortcut_conv")}
    assert strided == blocks | {"stem_conv", "stem_pool"}
    assert all(model.get_layer(f"stage{i}_block1_conv2").kernel_size == (3, 3) for i in (2, 3, 4))


@pytest.mark.parametrize("padding, first", [("torch", 0), ("same", 1)])
def test_padding_decides_where_a_strided_window_lies(padding, first):
    model = resnet18((8, 8, 3), stem="imagenet", width=3, padding=padding)
    centre = np.zeros((7, 7, 3, 3), "float32")
    centre[3, 3] = np.eye(3)
    model.get_layer("stem_conv").set_weights([centre])
    images = _images(2, 8, 8, 3)
    found = _up_to(model, "stem_conv")(images)
    np.testing.assert_allclose(found, images[:, first::2, first::2], atol=1e-6)


def test_max_pool_windows_lie_as_in_torch():
    model = resnet18((16, 16, 3), stem="imagenet", width=2)
    images = _images(1, 16, 16, 3)
    before = np.asarray(_up_to(model, "stem_relu")(images))
    padded = np.pad(before, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded[0], (3, 3), axis=(0, 1))
    expected = windows[::2, ::2].max((-2, -1))
    np.testing.assert_array_equal(_up_to(model, "stem_pool")(images)[0], expected)


@pytest.mark.parametrize("make, last", [(resnet18, "bn2"), (resnet50, "bn3")])
def test_zero_gamma_starts_every_block_as_its_shortcut(make, last):
    model = make(width=4, zero_gamma=True)
    zero = {n.name for n in model.layers if hasattr(n, "gamma") and not np.any(n.gamma.numpy())}
    blocks = {layer.name[: -len("_out")] for layer in model.layers if layer.name.endswith("_out")}
    assert zero == {f"{block}_{last}" for block in blocks}
    images = _images(1, 32, 32, 3)
    entered = "stem_relu" if make is resnet18 else "stage1_block1_out"
    left = "stage1_block1_out" if make is resnet18 else "stage1_block2_out"
    np.testing.assert_array_equal(_up_to(model, left)(images), _up_to(model, entered)(images))


def test_starting_weights_are_torchs():
    keras.utils.set_random_seed(0)
    model = resnet18()
    stem = model.get_layer("stem_conv").kernel.numpy()
    bound = (3 * 3 * 3) ** -0.5
    assert 0.98 * bound < np.abs(stem).max() <= bound
    kernel = model.get_layer("stage2_block1_conv1").kernel.numpy()
    assert np.std(kernel) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    he = resnet18(init="he").get_layer("stage2_block1_conv1").kernel.numpy()
    assert np.std(he) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_the_seed_decides_the_starting_weights():
    def draw(seed):
        keras.utils.set_random_seed(seed)
        return np.concatenate([w.ravel() for w in convnet().get_weights()])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert np.any(draw(1) != draw(2))


def test_a_clone_shares_no_variable():
    model = resnet18(width=4)
    clone = keras.models.clone_model(model)
    assert not {id(v) for v in model.variables} & {id(v) for v in clone.variables}
    clone.set_weights(model.get_weights())
    images = _images(2, 32, 32, 3)
    np.testing.assert_array_equal(clone(images), model(images))
    model.trainable_variables[0].assign_add(np.ones(model.trainable_variables[0].shape))
    assert np.any(np.asarray(clone(images)) != np.asarray(model(images)))


@pytest.mark.parametrize(
    "spec, message",
    [
        ("resnet18(stem='mnist')", "stem must be one of cifar, imagenet. Received: stem='mnist'"),
        ("resnet50(padding='valid')", "padding must be one of torch, same. Received: padding='valid'"),
        ("resnet18(width=0)", "width must be at least 1. Received: width=0"),
        ("convnet(init='zeros')", "init must be one of torch, he. Received: init='zeros'"),
        ("convnet(widths=(8,))", "widths and strides must be equally long and not empty. Received: widths="),
    ],
)
def test_bad_arguments_are_named(spec, message):
    with pytest.raises(ValueError) as caught:
        ENCODERS.create(spec)
    assert str(caught.value).startswith(message)
