"""The identity-initialised prediction head of which only the off-diagonal part is trained."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS, Predictor


@PREDICTORS.register("offdiagonal")
@keras.saving.register_keras_serializable("tf_directpred")
class OffDiagonalPredictor(Predictor):
    """A linear head whose diagonal stays exactly 1.

        p = z + z (M * E),   M = 1 - I,  E = 0 at the start;   kernel = I + M * E

    The mask is part of the prediction: whatever optimizer, decay, precision or checkpoint does to E, its
    diagonal is never read and gets no gradient.

    Reference: Wen & Li 2022 (arXiv 2205.06226).
    """

    def build(self, input_shape):
        d = input_shape[-1]
        self.exchange = self.add_weight(shape=(d, d), initializer="zeros", name="exchange")

    @property
    def kernel(self):
        """I + M * E, (d, d)."""
        return tf.linalg.set_diag(tf.convert_to_tensor(self.exchange), tf.ones(self.exchange.shape[0], self.exchange.dtype))

    def call(self, z, training=False):
        exchange = tf.convert_to_tensor(self.exchange)
        return z + tf.matmul(z, tf.linalg.set_diag(exchange, tf.zeros(exchange.shape[0], exchange.dtype)))
