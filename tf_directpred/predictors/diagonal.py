"""A linear predictor kept diagonal."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS, Predictor
from tf_directpred.predictors.linear import INITS


@PREDICTORS.register("diagonal")
@keras.saving.register_keras_serializable("tf_directpred")
class DiagonalPredictor(Predictor):
    """A trained linear predictor whose off-diagonal part is set to 0 after each step.

        p = z kernel;    kernel <- diag(kernel)

    Args:
        init: as `LinearPredictor`; the first prediction is made with the full starting kernel.

    Raises:
        ValueError: unknown `init`.
    """

    def __init__(self, init="identity", **kwargs):
        super().__init__(**kwargs)
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}. Received: init={init!r}")
        self.init = init

    def build(self, input_shape):
        d = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(d, d), initializer=keras.initializers.get(INITS[self.init]), name="kernel", aggregation="mean"
        )

    def call(self, z, training=False):
        return tf.matmul(z, self.kernel)

    def update(self, online, target):
        self.kernel.assign(tf.linalg.diag(tf.linalg.diag_part(tf.convert_to_tensor(self.kernel))))

    def get_config(self):
        return {**super().get_config(), "init": self.init}
