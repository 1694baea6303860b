"""DirectSet and DirectCopy: the predictor is a power of the correlation; no eigendecomposition for power 1."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS
from tf_directpred.predictors.closed_form import ClosedFormPredictor, eigh, from_eigen
from tf_directpred.predictors.matrix_products import spectral_norm, unit_scaled

NORMS = {
    "spectral": spectral_norm,
    "frobenius": tf.norm,
    "max": lambda m: tf.reduce_max(tf.abs(m)),
    "none": lambda m: tf.ones((), m.dtype),
}


@PREDICTORS.register("directset")
@keras.saving.register_keras_serializable("tf_directpred")
class DirectSetLayer(ClosedFormPredictor):
    """DirectSet(alpha): a power of the correlation, normalised and lifted.

        W_p = F^alpha / |F^alpha| + epsilon I          (F = 0: W_p = epsilon I)

    Args:
        alpha: the power, > 0; 1/2 is like DirectPred, 1 is DirectCopy.
        rho, update_every, center, use_bias, train_kernel: see `ClosedFormPredictor`.
        epsilon: the lift, >= 0.
        norm: `"spectral"` (largest eigenvalue, by matrix products), `"frobenius"`, `"max"` (largest entry)
            or `"none"`.

    Raises:
        ValueError: an argument out of range.

    Reference: Wang, Chen, Du, Tian 2021 (arXiv 2110.04947).
    """

    def __init__(self, alpha=0.5, rho=0.5, epsilon=0.3, norm="spectral", update_every=1, center=False, use_bias=False,
                 train_kernel=False, **kwargs):
        super().__init__(rho, update_every, center, use_bias, train_kernel, **kwargs)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha must be finite and positive. Received: alpha={alpha}")
        if not 0 <= epsilon < float("inf"):
            raise ValueError(f"epsilon must be finite and not negative. Received: epsilon={epsilon}")
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}. Received: norm={norm!r}")
        self.alpha, self.epsilon, self.norm = alpha, epsilon, norm

    def solve(self, correlation):
        if self.norm != "none":
            correlation, _ = unit_scaled(correlation)  # as it is divided by a norm anyway
        power = correlation if self.alpha == 1 else self._power(correlation)
        scaled = tf.math.divide_no_nan(power, NORMS[self.norm](power))
        return scaled + self.epsilon * tf.eye(tf.shape(power)[0], dtype=power.dtype)

    def _power(self, correlation):
        s, u = eigh(correlation)
        s = tf.maximum(s, 0)
        if self.norm != "none":
            s = tf.math.divide_no_nan(s, tf.reduce_max(s))  # or a high power leaves float32 before it is divided
        return from_eigen(s**self.alpha, u, correlation.dtype)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "epsilon": self.epsilon, "norm": self.norm}


@PREDICTORS.register("directcopy")
@keras.saving.register_keras_serializable("tf_directpred")
class DirectCopyLayer(DirectSetLayer):
    """DirectCopy: the correlation itself, normalised and lifted; no eigendecomposition.

        W_p = F / |F| + epsilon I

    Args: those of `DirectSetLayer` but alpha, which is 1.

    Reference: Wang, Chen, Du, Tian 2021 (arXiv 2110.04947).
    """

    def __init__(self, rho=0.5, epsilon=0.3, norm="spectral", update_every=1, center=False, use_bias=False,
                 train_kernel=False, **kwargs):
        super().__init__(1, rho, epsilon, norm, update_every, center, use_bias, train_kernel, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["alpha"]
        return config
