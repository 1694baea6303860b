"""Trained predictors whose kernel obeys a constraint, after real steps of real optimizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS, SGD
from tf_directpred.predictors import PREDICTORS, OffDiagonalPredictor

D = 4
OPTIMIZERS = {
    "sgd": lambda: SGD(0.3, weight_decay=0.1),
    "lars": lambda: LARS(0.3, weight_decay=0.1, trust_coefficient=0.1),
    "adam": lambda: keras.optimizers.Adam(0.03),
    "adamw": lambda: keras.optimizers.AdamW(0.03, weight_decay=0.5),
    "clipped": lambda: keras.optimizers.SGD(0.3, momentum=0.9, nesterov=True, clipnorm=0.1),
}


def trained(predictor, optimizer, steps=4, policy="float32"):
    """A predictor after a few steps on random images; the target starts elsewhere, so all of it moves."""
    keras.utils.set_random_seed(0)
    images = keras.Input((D,))
    encoder = keras.Model(images, keras.layers.Dense(D, dtype=policy)(images))
    layer = PREDICTORS.create(predictor)
    layer.dtype_policy = policy
    model = NonContrastive(encoder, None, layer, target_init="random")
    optimizer = OPTIMIZERS[optimizer]()
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
    model.compile(optimizer, run_eagerly=True)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        model.train_on_batch({k: rng.normal(size=(8, D)).astype("float32") for k in ("view1", "view2")})
    return layer


def off_diagonal(matrix):
    return np.array(matrix)[~np.eye(D, dtype=bool)]


def predicted_kernel(layer):
    """What the layer really multiplies with: its predictions of the unit vectors."""
    return np.array(tf.cast(layer(tf.eye(D, dtype=layer.compute_dtype)), "float32"))


MIXED = [(name, policy) for name in ("sgd", "adamw") for policy in ("mixed_bfloat16", "mixed_float16")]


@pytest.mark.parametrize("optimizer, policy", [*((name, "float32") for name in OPTIMIZERS), *MIXED])
def test_the_offdiagonal_heads_diagonal_is_exactly_one(optimizer, policy):
    layer = trained("offdiagonal", optimizer, policy=policy)
    for kernel in (layer.kernel, predicted_kernel(layer)):
        np.testing.assert_array_equal(np.diag(kernel), np.ones(D))
    assert np.abs(off_diagonal(layer.kernel)).min() > 1e-6
    assert layer.exchange.dtype == "float32"


def test_the_offdiagonal_head_starts_as_the_identity_and_learns_off_the_diagonal_only():
    layer = OffDiagonalPredictor()
    layer.build((None, D))
    z = tf.random.stateless_normal((8, D), (0, 0))
    np.testing.assert_array_equal(layer(z), z)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(z) ** 2)
    gradient = tape.gradient(loss, layer.trainable_variables[0])
    np.testing.assert_array_equal(np.diag(gradient), np.zeros(D))
    np.testing.assert_allclose(off_diagonal(gradient), off_diagonal(2 * np.transpose(z) @ z), rtol=1e-5)


def test_whatever_is_loaded_the_offdiagonal_heads_diagonal_is_one(tmp_path):
    rng = np.random.default_rng(0)
    garbage = rng.normal(size=(D, D)) + np.diag([1e3, -5, np.nan, np.inf])
    model, fresh = (keras.Sequential([keras.Input((D,)), OffDiagonalPredictor()]) for _ in range(2))
    model.set_weights([garbage])
    model.save_weights(tmp_path / "a.weights.h5")
    fresh.load_weights(tmp_path / "a.weights.h5")
    layer = fresh.layers[0]
    expected = garbage.copy()
    np.fill_diagonal(expected, 1)
    for kernel in (layer.kernel, predicted_kernel(layer)):
        np.testing.assert_allclose(kernel, expected, rtol=1e-6)
        np.testing.assert_array_equal(np.diag(kernel), np.ones(D))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("init", ["identity", "glorot"])
def test_a_diagonal_kernel_stays_diagonal(init, optimizer):
    layer = trained(f"diagonal(init='{init}')", optimizer)
    np.testing.assert_array_equal(off_diagonal(layer.kernel), np.zeros(D * D - D))
    assert np.std(np.diag(layer.kernel)) > 1e-6  # it has learned


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_symmetric_kernel_stays_symmetric(optimizer):
    kernel = np.array(trained("linear(symmetric=True, bias=True)", optimizer).kernel)
    np.testing.assert_array_equal(kernel, kernel.T)
    assert np.abs(off_diagonal(kernel)).max() > 1e-3
    free = np.array(trained("linear", optimizer).kernel)
    assert np.abs(free - free.T).max() > 1e-3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_symmetric_layers_stay_tied(optimizer):
    layer = trained("mlp(hidden=6, symmetric=True)", optimizer)
    np.testing.assert_array_equal(layer.expand.kernel, np.transpose(layer.reduce.kernel))
    free = trained("mlp(hidden=6)", optimizer)
    assert np.abs(np.array(free.expand.kernel) - np.transpose(free.reduce.kernel)).max() > 1e-3


def test_symmetric_layers_meet_halfway():
    layer = PREDICTORS.create("mlp(hidden=6, symmetric=True)")
    layer.build((None, D))
    w0, w1 = np.array(layer.expand.kernel), np.array(layer.reduce.kernel)
    layer.update(online=(), target=())
    np.testing.assert_allclose(layer.expand.kernel, (w0 + w1.T) / 2, rtol=1e-6)
