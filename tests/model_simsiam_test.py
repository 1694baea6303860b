"""SimSiam's step (no target network): its targets are constants, and nothing else is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import SGD
from tf_directpred.predictors import PREDICTORS

RATE = 0.5


def views():
    rng = np.random.default_rng(0)
    return {key: rng.normal(size=(8, 5)) for key in ("view1", "view2")}


def simsiam(predictor, projector=True, **options):
    keras.utils.set_random_seed(0)
    images, y = keras.Input((5,)), keras.Input((6,))
    encoder = keras.Model(images, keras.layers.Dense(6, use_bias=False)(images))
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Dense(6)(y)))
    head = keras.Model(y, keras.layers.Dense(4)(hidden)) if projector else None
    model = NonContrastive(encoder, head, PREDICTORS.create(predictor), target=None, **options)
    model.compile(SGD(RATE, momentum=0.0), run_eagerly=True)
    return model


def gradients_of_a_step(model):
    before = [np.array(v) for v in model.trainable_variables]
    model.train_on_batch(views())
    return [(old - np.array(v)) / RATE for v, old in zip(model.trainable_variables, before)]


def assert_equal(found, expected):
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("symmetrize", [True, False])
def test_the_gradient_is_that_of_constant_targets(symmetrize, float64):
    """Batch norm, ReLU and cosine; the targets are turned into NumPy arrays, which no gradient passes."""
    options = {"loss": "cosine(scale=0.25)", "symmetrize": symmetrize}
    model, reference = (simsiam("mlp(hidden=3)", **options) for _ in range(2))
    x1, x2 = views().values()
    t1, t2 = (np.array(reference.online(x, training=True)) for x in (x1, x2))
    directions = [(x1, t2), (x2, t1)] if symmetrize else [(x1, t2)]
    loss = 0
    with tf.GradientTape() as tape:
        for x, t in directions:
            p = reference.predictor(reference.online(x, training=True), training=True)
            cos = tf.reduce_sum(p * t, 1) / (tf.norm(p, axis=1) * np.linalg.norm(t, axis=1))
            loss += tf.reduce_mean(-0.5 * cos)
    assert_equal(gradients_of_a_step(model), tape.gradient(loss, reference.trainable_variables))


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_gradient_of_linear_networks_by_hand(stop_gradient, float64):
    """loss = mean |x1 W P - x2 W|^2 + mean |x2 W P - x1 W|^2, rows as samples."""
    model = simsiam("linear", projector=False, loss="euclidean", stop_gradient=stop_gradient)
    w, p = (np.array(v) for v in model.trainable_variables)
    x1, x2 = views().values()
    grad_w, grad_p = np.zeros_like(w), np.zeros_like(p)
    for x, other in ((x1, x2), (x2, x1)):
        error = 2 * (x @ w @ p - other @ w) / len(x)
        grad_p += (x @ w).T @ error
        grad_w += x.T @ error @ p.T
        if not stop_gradient:
            grad_w -= other.T @ error
    assert_equal(gradients_of_a_step(model), [grad_w, grad_p])
