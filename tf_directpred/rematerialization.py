"""Networks that keep few activations and compute the others again when the gradient needs them."""

import math

import keras
import tensorflow as tf


def rematerialized(network):
    """The same network, sharing its weights, whose training holds about the square root of its activations.

    The network is cut into about sqrt(n) segments of its n layers, at places where one tensor passes. Only these
    tensors are kept for the gradient; a segment's others are computed a second time when its gradient is due. The
    gradients are the same, batch norm moves and dropout draws once, and a step costs one more forward pass.

    Keras's own RematScope takes a layer at a time, whose input is kept in any case, and moves batch norm twice.

    Args:
        network: a functional or Sequential `keras.Model` with one input and one output.

    Returns:
        A `keras.Model`.

    Reference: Chen et al. 2016, "Training deep nets with sublinear memory cost".
    """
    graph = getattr(network, "_functional", network)  # which a Sequential holds
    x = inputs = keras.Input(network.input_shape[1:], dtype=graph.input.dtype)
    cuts = _cuts(graph)
    for start, stop in zip([graph.input, *cuts], [*cuts, graph.output]):
        x = _Segment(keras.Model(start, stop))(x)
    return keras.Model(inputs, x, name=f"{network.name}_rematerialized")


def _cuts(graph):
    """Tensors, in order, that are all that later layers read of earlier ones; about sqrt(n) layers apart."""
    by_depth = graph._nodes_by_depth  # Keras has no public list of a graph's calls, only of its layers
    calls = [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]
    if len({id(call.operation) for call in calls}) < len(calls):
        return []  # Keras cannot cut a graph that calls a layer twice
    last_reader = {id(x): i for i, call in enumerate(calls) for x in call.input_tensors}
    cuts, layers, read_until = [], 0, -1
    for i, call in enumerate(calls[:-1]):
        layers += 1
        # `read_until`: the last call that reads any tensor made before this call's.
        if read_until <= i and layers >= math.isqrt(len(calls)):
            cuts.append(call.outputs[0])
            layers = 0
        read_until = max([read_until, *(last_reader.get(id(x), -1) for x in call.outputs)])
    return cuts


@keras.saving.register_keras_serializable("tf_directpred")
class _Segment(keras.layers.Layer):
    """Part of a network that is computed again for its gradient."""

    def __init__(self, network, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.network = network

    def compute_output_spec(self, x, training=False):
        return self.network.compute_output_spec(x)

    def call(self, x, training=False):
        if not training:
            return self.network(x, training=False)
        trained = [tf.convert_to_tensor(v) for v in self.network.trainable_variables]
        state = [tf.identity(tf.convert_to_tensor(v)) for v in self.network.non_trainable_variables]

        # As a function of values: computed again, it moves no variable and draws the same random numbers.
        def forward(x, *trained):
            return self.network.stateless_call(trained, state, x, training=True)

        y, moved = tf.recompute_grad(forward)(x, *trained)
        for variable, value in zip(self.network.non_trainable_variables, moved):
            variable.assign(value)
        return y
