"""Losses of one direction against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.losses import LOSSES


def numpy_cosine(p, t, scale=1.0):
    norms = np.maximum(np.linalg.norm(p, axis=1), 1e-12) * np.maximum(np.linalg.norm(t, axis=1), 1e-12)
    return -2 * scale * np.sum(p * t, axis=1) / norms


def numpy_euclidean(p, t, scale=1.0):
    return scale * np.sum((p - t) ** 2, axis=1)


REFERENCES = {"cosine": numpy_cosine, "euclidean": numpy_euclidean}
SPECS = ["cosine", "cosine(scale=0.25)", "euclidean", "euclidean(scale=0.5)"]


def pairs(dtype="float64", shape=(6, 8)):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for _ in range(3)]


def reference(spec, p, t):
    name, _, scale = spec.rstrip(")").partition("(scale=")
    return REFERENCES[name](p, t, float(scale or 1))


@pytest.mark.parametrize("spec", SPECS)
def test_equals_numpy(spec):
    p, t, z = pairs()
    loss = LOSSES.create(spec)(*map(tf.constant, (p, t, z)))
    assert loss.shape == (6,) and loss.dtype == "float64"
    np.testing.assert_allclose(loss, reference(spec, p, t), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
def test_half_precision_is_computed_in_float32(spec, dtype):
    # 256 entries of about 300: their squares and sums overflow float16 and lose bfloat16's eight bits.
    p, t, z = (tf.cast(300 * x, dtype) for x in pairs(shape=(6, 256)))
    loss = LOSSES.create(spec)(p, t, z)
    assert loss.dtype == "float32"
    exact = reference(spec, *(tf.cast(x, "float64").numpy() for x in (p, t)))
    np.testing.assert_allclose(loss, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("spec", SPECS)
def test_zero_vectors_have_finite_values_and_gradients(spec, dtype):
    p, t, z = (tf.cast(x, dtype) for x in pairs())
    zeros = tf.zeros_like(p)
    for prediction, target in ((zeros, t), (p, zeros), (zeros, zeros)):
        with tf.GradientTape() as tape:
            tape.watch([prediction, target])
            loss = LOSSES.create(spec)(prediction, target, z)
        for values in (loss, *tape.gradient(loss, [prediction, target])):
            assert np.all(np.isfinite(tf.cast(values, "float64")))


def test_cosine_is_blind_to_scale_and_bounded():
    p, t, z = pairs()
    loss = LOSSES.create("cosine")
    np.testing.assert_allclose(loss(3 * p, 0.2 * t, z), loss(*map(tf.constant, (p, t, z))), rtol=1e-12)
    np.testing.assert_allclose(loss(tf.constant(p), tf.constant(p), z), -2, rtol=1e-12)
    np.testing.assert_allclose(loss(tf.constant(p), tf.constant(-p), z), 2, rtol=1e-12)


def test_cosine_gradient_equals_finite_differences():
    p, t, z = pairs(shape=(1, 5))
    prediction = tf.constant(p)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        loss = LOSSES.create("cosine")(prediction, t, z)
    steps = 1e-6 * np.eye(5)
    slope = [(numpy_cosine(p + h, t) - numpy_cosine(p - h, t))[0] / 2e-6 for h in steps]
    np.testing.assert_allclose(tape.gradient(loss, prediction)[0], slope, atol=1e-8)


@pytest.mark.parametrize("spec", SPECS)
def test_no_target_gradient_is_stopped_here(spec):
    """The training step stops gradients; a loss that stopped one would hide `stop_gradient=False`."""
    p, t, z = map(tf.constant, pairs())
    with tf.GradientTape() as tape:
        tape.watch([p, t])
        loss = LOSSES.create(spec)(p, t, z)
    assert all(g is not None and np.any(g != 0) for g in tape.gradient(loss, [p, t]))


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_scale_must_be_positive(name, scale):
    with pytest.raises(ValueError, match=r"scale must be positive. Received: scale="):
        LOSSES[name](scale=scale)


@pytest.mark.parametrize("name", LOSSES.names())
def test_every_loss_is_one_number_an_example(name):
    """Each example's loss, gradients through it defined, whatever else a new member takes."""
    p, t, z = (tf.constant(x, "float32") for x in pairs())
    loss = LOSSES.create(name)(p, t, z)
    assert loss.shape == (6,) and np.all(np.isfinite(loss))
