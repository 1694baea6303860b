"""The two-layer predictor of BYOL and SimSiam."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS, Predictor
from tf_directpred.predictors.linear import TORCH_UNIFORM


@PREDICTORS.register("mlp")
@keras.saving.register_keras_serializable("tf_directpred")
class MLPPredictor(Predictor):
    """Linear - batch norm - ReLU - linear, trained by the optimizer.

        p = relu(norm(z W0 + b0)) W1 + b1;    symmetric: after each step  A = (W0 + W1^T)/2, W0 <- A, W1 <- A^T

    Args:
        hidden: hidden units.
        bias: bias of the first linear layer.
        output_bias: bias of the last one (BYOL on ImageNet has none).
        affine: whether batch norm has a trained scale and shift.
        symmetric: tie the two kernels (Tian et al. 2021, Table 1: "symmetric W_p").
        init: `"glorot"` or `"torch"` (uniform in +-1/sqrt(fan_in)).
        synchronized: batch statistics over all replicas.

    Reference: Grill et al. 2020, section 3.3; Tian et al. 2021, section 6.
    """

    def __init__(self, hidden=512, bias=True, output_bias=True, affine=False, symmetric=False, init="glorot",
                 synchronized=False, **kwargs):
        super().__init__(**kwargs)
        inits = {"glorot": "glorot_uniform", "torch": TORCH_UNIFORM}
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1. Received: hidden={hidden}")
        if init not in inits:
            raise ValueError(f"init must be one of {', '.join(inits)}. Received: init={init!r}")
        self.hidden, self.bias, self.output_bias, self.affine = hidden, bias, output_bias, affine
        self.symmetric, self.init, self.synchronized = symmetric, init, synchronized
        self._initializer = inits[init]

    def build(self, input_shape):
        def dense(units, use_bias, name):
            kernel_initializer = keras.initializers.get(self._initializer)
            return keras.layers.Dense(
                units, use_bias=use_bias, kernel_initializer=kernel_initializer, dtype=self.dtype_policy, name=name
            )

        self.expand = dense(self.hidden, self.bias, "expand")
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, center=self.affine, scale=self.affine,
            synchronized=self.synchronized, dtype=self.dtype_policy, name="norm",
        )
        self.reduce = dense(input_shape[-1], self.output_bias, "reduce")
        self.expand.build(input_shape)
        self.norm.build((None, self.hidden))
        self.reduce.build((None, self.hidden))

    def call(self, z, training=False):
        h = self.norm(self.expand(z), training=training)
        return self.reduce(keras.ops.relu(h))

    def update(self, online, target):
        if self.symmetric:
            first = tf.convert_to_tensor(self.expand.kernel)
            last = tf.convert_to_tensor(self.reduce.kernel)
            tied = (first + tf.transpose(last)) / 2
            self.expand.kernel.assign(tied)
            self.reduce.kernel.assign(tf.transpose(tied))

    def get_config(self):
        names = ("hidden", "bias", "output_bias", "affine", "symmetric", "init", "synchronized")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
