"""Projectors: the published MLPs, layer by layer."""

import keras
import numpy as np
import pytest

from tf_directpred.networks import PROJECTORS, mlp

PUBLISHED = {
    "directpred": ("mlp", 512, [(512, 512), (512,), (512, 128), (128,)]),
    "byol": (
        "mlp(hidden=(4096,), output=256, norm='affine', output_bias=False)",
        2048,
        [(2048, 4096), (4096,), (4096,), (4096,), (4096, 256)],
    ),
    "simsiam": (
        "mlp(hidden=(2048, 2048), output=2048, norm='affine', bias=False, "
        "output_norm='plain', output_bias=False)",
        2048,
        [(2048, 2048), (2048,), (2048,)] * 2 + [(2048, 2048)],
    ),
    "simclr": (
        "mlp(hidden=(512, 512), output=128, norm='affine', bias=False, "
        "output_norm='scale', output_bias=False)",
        512,
        [(512, 512), (512,), (512,)] * 2 + [(512, 128), (128,)],
    ),
    "digits": (
        "mlp(hidden=(256,), output=64, norm='affine', output_norm='plain')",
        128,
        [(128, 256), (256,), (256,), (256,), (256, 64), (64,)],
    ),
    "linear": ("mlp(hidden=(), output=32, output_bias=False)", 64, [(64, 32)]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_projectors_have_these_trained_variables(name):
    spec, input_dim, shapes = PUBLISHED[name]
    projector = PROJECTORS.create(spec, input_dim=input_dim)
    assert [tuple(v.shape) for v in projector.trainable_variables] == shapes
    assert projector.output_shape == (None, shapes[-1][-1] if name != "byol" else 256)


def test_the_official_projector_is_dense_norm_relu_dense():
    projector = mlp(6, hidden=(5,), output=3)
    x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    w1, b1, w2, b2 = (v.numpy() for v in projector.trainable_variables)
    mean, variance = (v.numpy() for v in projector.non_trainable_variables)
    h = x @ w1 + b1
    normed = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    np.testing.assert_allclose(projector(x, training=True), np.maximum(normed, 0.0) @ w2 + b2, atol=1e-5)
    moved = [v.numpy() for v in projector.non_trainable_variables]
    expected = [0.9 * mean + 0.1 * h.mean(0), 0.9 * variance + 0.1 * h.var(0)]
    np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-6)


def test_output_norm_without_affine_standardises_the_projection():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(64, 6)).astype("float32")
    z = np.asarray(mlp(6, hidden=(32,), output=4, output_norm="plain")(x, training=True))
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1.0, atol=1e-3)


def test_starting_weights_and_biases_are_torchs():
    keras.utils.set_random_seed(0)
    projector = mlp(512)
    bound = 512**-0.5
    for layer in ("hidden1", "output"):
        for values in projector.get_layer(layer).get_weights():
            assert 0.9 * bound < np.abs(values).max() <= bound
            assert np.std(values) == pytest.approx(bound / 3**0.5, rel=0.15)
    he = mlp(512, init="he").get_layer("hidden1")
    assert np.std(he.kernel) == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert not np.any(he.bias)


def test_synchronized_reaches_every_norm_and_none_is_none():
    projector = PROJECTORS.create("mlp(output_norm='plain')", input_dim=8, synchronized=True)
    norms = [layer for layer in projector.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [n.synchronized for n in norms] == [True, True]
    assert PROJECTORS.create("none", input_dim=8, synchronized=True) is None


@pytest.mark.parametrize("argument", ["norm", "output_norm"])
def test_unknown_norms_are_named(argument):
    with pytest.raises(ValueError, match=f"^{argument} must be one of plain, scale, affine. Received: "):
        PROJECTORS.create(f"mlp({argument}='layer')", input_dim=8)
