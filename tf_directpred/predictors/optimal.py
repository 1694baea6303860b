"""The least-squares predictor: the natural idea, which the paper found much worse than DirectPred."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS
from tf_directpred.predictors.closed_form import ClosedFormPredictor, eigh, second_moment


@PREDICTORS.register("optimal")
@keras.saving.register_keras_serializable("tf_directpred")
class OptimalPredictor(ClosedFormPredictor):
    """The linear predictor of least squared error, with a ridge.

        W_p = E[t z^T] (F + ridge I)^-1,    symmetrize:  W_p = 1/2 (E[z1 z2^T] + E[z2 z1^T]) (F + ridge I)^-1

    Expectations are averaged like F. Prediction is z W_p^T.

    Args:
        ridge: > 0, in the units of F.
        symmetrize: the published baseline: views predict each other's projection, not the target's.
        rho, update_every, use_bias, train_kernel: see `ClosedFormPredictor`.

    Raises:
        ValueError: an argument out of range.

    Reference: Tian et al. 2021, section 6 ("optimal predictor").
    """

    def __init__(self, ridge=0.1, symmetrize=False, rho=0.3, update_every=1, use_bias=False, train_kernel=False, **kwargs):
        super().__init__(rho, update_every, False, use_bias, train_kernel, **kwargs)
        if not 0 < ridge < float("inf"):
            raise ValueError(f"ridge must be finite and positive. Received: ridge={ridge}")
        self.ridge, self.symmetrize = ridge, symmetrize

    def build(self, input_shape):
        super().build(input_shape)
        self.cross = self._add_matrix("cross", (input_shape[-1], input_shape[-1]))

    def moments(self, online, target):
        # With one direction of the loss there is no second online view: the target's stands in.
        partner = online[::-1] if self.symmetrize and len(online) == 2 else target
        cross = second_moment(tf.concat(online, axis=0), tf.concat(partner, axis=0))
        return [*super().moments(online, target), (self.cross, cross)]

    def kernel_of(self, correlation, cross):
        # Not by Cholesky, which fails where the ridge is lost in the rounding of a large, singular F.
        s, u = eigh(correlation)
        c = tf.cast((cross + tf.transpose(cross)) / 2 if self.symmetrize else cross, s.dtype)
        kernel = tf.matmul(u / (tf.maximum(s, 0) + self.ridge), tf.matmul(u, c, transpose_a=True))
        return tf.cast(kernel, correlation.dtype)

    def get_config(self):
        config = {**super().get_config(), "ridge": self.ridge, "symmetrize": self.symmetrize}
        del config["center"]
        return config
