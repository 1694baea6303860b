"""Rematerialization: the same numbers, and activations really computed twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.networks import ENCODERS
from tf_directpred.rematerialization import rematerialized

ENCODER = "resnet18(width=4)"


def with_dropout():
    images = keras.Input((8, 8, 3))
    x = images
    for _ in range(4):
        x = keras.layers.Conv2D(4, 3, padding="same")(x)
        x = keras.layers.Dropout(0.5, seed=1)(x)
        x = keras.layers.Add()([x, keras.layers.BatchNormalization()(x)])
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def sequential():
    layers = [keras.layers.Dense(5, activation="relu") for _ in range(6)]
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), *layers])


NETWORKS = {"resnet18": lambda: ENCODERS.create(ENCODER), "dropout": with_dropout, "sequential": sequential}


def convolutions(graph):
    """Forward convolutions of a traced function."""
    return sum(op.type == "Conv2D" for op in graph.get_operations())


def gradients_of(network, called):
    """Function of images: gradients of a loss of `called`, which shares the weights of `network`."""

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            y = called(x, training=True)
            loss = tf.reduce_sum(tf.sin(y) * tf.range(1.0, y.shape[-1] + 1))
        return tape.gradient(loss, network.trainable_variables)

    return gradients


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_state_are_those_of_the_network(name):
    keras.utils.set_random_seed(0)
    network = NETWORKS[name]()
    again = rematerialized(network)
    assert len(again.layers) > 3  # in several segments
    assert [v.path for v in again.trainable_variables] == [v.path for v in network.trainable_variables]
    x = tf.random.stateless_normal((6, 8, 8, 3), (0, 1))
    start = [np.array(v) for v in network.variables]
    found = []
    for called in (network, again):
        for variable, value in zip(network.variables, start):
            variable.assign(value)
        gradients = [g.numpy() for g in gradients_of(network, called)(x)]
        found.append([*gradients, *(np.array(v) for v in network.non_trainable_variables)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network(x), again(x), rtol=1e-6)


def test_the_forward_pass_is_in_the_gradient_once_more():
    network = ENCODERS.create(ENCODER)
    spec = tf.TensorSpec((2, 8, 8, 3))
    plain, twice = (
        convolutions(gradients_of(network, called).get_concrete_function(spec).graph)
        for called in (network, rematerialized(network))
    )
    assert (plain, twice) == (20, 40)


def test_a_layer_that_is_used_twice_is_kept_whole():
    images = keras.Input((4,))
    shared = keras.layers.Dense(4)
    x = images
    for _ in range(3):
        x = keras.layers.ReLU()(shared(x))
    network = keras.Model(images, x)
    x = tf.random.stateless_normal((6, 4), (0, 1))
    a, b = (gradients_of(network, called)(x) for called in (network, rematerialized(network)))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
