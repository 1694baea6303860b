"""The fused batch norm is Keras's batch norm: same numbers, gradients, variables and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.networks import BatchNormalization

SHAPES = [(8, 5, 6, 7), (16, 7)]


def _pair(shape, **kwargs):
    """Our layer and Keras's, with equal variables that are not the initial ones."""
    layers = (
        BatchNormalization(**kwargs),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **kwargs),
    )
    rng = np.random.default_rng(3)
    values = None
    for layer in layers:
        layer.build(shape)
        values = values or [rng.uniform(0.5, 2.0, v.shape) for v in layer.variables]
        for variable, value in zip(layer.variables, values):
            variable.assign(value)
    return layers


def _step(layer, x, weights):
    """Output, gradients and moving statistics of one training call."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, x.dtype) * weights)
    gradients = tape.gradient(loss, [x] + [v.value for v in layer.trainable_variables])
    return [y] + gradients + [v.value for v in layer.non_trainable_variables]


def _inputs(shape, dtype="float32"):
    rng = np.random.default_rng(0)
    return tf.constant(rng.normal(2.0, 3.0, shape), dtype), tf.constant(rng.normal(size=shape), dtype)


def _operations(layer, shape):
    function = tf.function(lambda x: layer(x, training=True))
    graph = function.get_concrete_function(tf.TensorSpec(shape)).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [{}, {"center": False, "scale": False}, {"center": False}])
def test_equals_keras_forward_backward_and_moving_statistics(shape, affine):
    x, weights = _inputs(shape)
    ours, keras_own = _pair(shape, **affine)
    assert "FusedBatchNormV3" in _operations(ours, shape)
    for found, expected in zip(_step(ours, x, weights), _step(keras_own, x, weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_numbers_when_compiled_by_xla_with_unknown_batch_size(shape):
    x, _ = _inputs(shape)
    ours, keras_own = _pair(shape)
    spec = tf.TensorSpec((None, *shape[1:]))
    compiled = tf.function(lambda x: ours(x, training=True), jit_compile=True, input_signature=[spec])
    np.testing.assert_allclose(compiled(x), keras_own(x, training=True), rtol=1e-5, atol=1e-5)
    for found, expected in zip(ours.variables, keras_own.variables, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_mixed_precision_keeps_statistics_in_float32(policy, shape):
    x, weights = _inputs(shape)
    ours, keras_own = _pair(shape, dtype=policy)
    found, expected = _step(ours, x, weights), _step(keras_own, x, weights)
    assert found[0].dtype == expected[0].dtype != tf.float32
    outputs = [tf.cast(y, "float32") for y in (found[0], expected[0])]
    np.testing.assert_allclose(*outputs, rtol=1e-2, atol=1e-3)
    for own, other in zip(found[2:], expected[2:], strict=True):
        assert own.dtype == tf.float32
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "kwargs, shape",
    [
        ({"dtype": "float64"}, (8, 7)),
        ({"synchronized": True}, (8, 7)),
        ({"axis": 1}, (8, 5, 6, 7)),
        ({}, (8, 3, 7)),
    ],
)
def test_what_cannot_be_fused_takes_keras_own_path(kwargs, shape):
    x, weights = _inputs(shape, kwargs.get("dtype", "float32"))
    ours, keras_own = _pair(shape, **kwargs)
    assert "FusedBatchNormV3" not in _operations(ours, shape)
    for found, expected in zip(_step(ours, x, weights), _step(keras_own, x, weights), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_inference_and_frozen_layers_use_and_keep_the_moving_statistics():
    shape = (16, 7)
    x, _ = _inputs(shape)
    ours, keras_own = _pair(shape)
    before = [v.numpy() for v in ours.variables]
    expected = keras_own(x, training=False)
    np.testing.assert_array_equal(ours(x, training=False), expected)
    ours.trainable = False
    np.testing.assert_array_equal(ours(x, training=True), expected)
    for variable, value in zip(ours.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_batch_of_one_leaves_finite_statistics():
    ours, _ = _pair((1, 7))
    ours(tf.ones((1, 7)), training=True)
    assert all(np.all(np.isfinite(v)) for v in ours.variables)


def test_config_restores_the_layer():
    layer = BatchNormalization(momentum=0.8, scale=False, synchronized=True)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(restored) is BatchNormalization
    assert restored.get_config() == layer.get_config()
    assert (BatchNormalization().momentum, BatchNormalization().epsilon) == (0.9, 1e-5)
