"""The trained linear predictor."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS, Predictor

TORCH_UNIFORM = {"class_name": "VarianceScaling", "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}}
INITS = {"glorot": "glorot_uniform", "identity": "identity", "torch": TORCH_UNIFORM}


@PREDICTORS.register("linear")
@keras.saving.register_keras_serializable("tf_directpred")
class LinearPredictor(Predictor):
    """A linear layer that the optimizer trains.

        p = z kernel (+ bias);    symmetric: after each step  kernel <- (kernel + kernel^T) / 2

    Args:
        bias: whether to add a bias, starting at 0.
        symmetric: keep the kernel symmetric, as the theory assumes (Tian et al. 2021, Assumption 3).
        init: `"glorot"`, `"identity"`, or `"torch"` (uniform in +-1/sqrt(d), as the papers' code).

    Raises:
        ValueError: unknown `init`.
    """

    def __init__(self, bias=False, symmetric=False, init="glorot", **kwargs):
        super().__init__(**kwargs)
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}. Received: init={init!r}")
        self.bias, self.symmetric, self.init = bias, symmetric, init

    def build(self, input_shape):
        d = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(d, d), initializer=keras.initializers.get(INITS[self.init]), name="kernel", aggregation="mean"
        )
        if self.bias:
            self.offset = self.add_weight(shape=(d,), initializer="zeros", name="bias")

    def call(self, z, training=False):
        p = tf.matmul(z, self.kernel)
        return p + self.offset if self.bias else p

    def update(self, online, target):
        if self.symmetric:
            kernel = tf.convert_to_tensor(self.kernel)
            self.kernel.assign((kernel + tf.transpose(kernel)) / 2)

    def get_config(self):
        return {**super().get_config(), "bias": self.bias, "symmetric": self.symmetric, "init": self.init}
