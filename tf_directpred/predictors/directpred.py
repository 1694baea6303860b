"""DirectPred: the predictor set from the eigenvalues of its inputs' correlation."""

import keras
import tensorflow as tf

from tf_directpred.predictors.base import PREDICTORS
from tf_directpred.predictors.closed_form import ClosedFormPredictor, eigh, from_eigen
from tf_directpred.predictors.matrix_products import newton_schulz_root, spectral_norm, unit_scaled

FLOOR = 1e-4  # smallest eigenvalue of a normalised W_p, as in the paper's experiments


@PREDICTORS.register("directpred")
@keras.saving.register_keras_serializable("tf_directpred")
class DirectPredLayer(ClosedFormPredictor):
    """DirectPred: W_p shares the eigenvectors of F; its eigenvalues are their square roots, lifted.

        F = U diag(s) U^T,  p_j = s_j^exponent + epsilon max_k s_k,  W_p = U diag(p) U^T
        normalize=True: s is divided by max_k s_k first, so p_j = (s_j/s_max)^exponent + epsilon, >= 1e-4

    W_p commutes with F, which the theory says training reaches by itself, and the square root is the
    invariant parabola s = p^2 of the mode dynamics. `epsilon` lifts small modes out of the basin of
    collapse. F = 0 counts as s = 0: W_p = max(epsilon, 1e-4) I with normalize, W_p = 0 without.

    Args:
        rho, update_every, center, use_bias, train_kernel: see `ClosedFormPredictor`.
        epsilon: the lift, relative to the largest eigenvalue; > -1 (the paper's best: 0.1).
        normalize: divide the spectrum by its maximum first, as the paper's experiments do. It changes what
            epsilon means and the overall scale (which the cosine loss does not see).
        epsilon_inside: p_j = (s_j/s_max + epsilon)^exponent instead; needs normalize.
        exponent: of the eigenvalues, > 0; 1/2 is the paper's.
        solver: `"eigh"` (exact); `"newton_schulz"` (matrix products only, for XLA and TPU, where eigh is slow; for
            exponent 1/2 and epsilon >= 1e-4, error below 1e-3 of |W_p|); `"diagonal"` (takes F's diagonal for
            its spectrum).

    Raises:
        ValueError: an argument out of range, with what is allowed.

    Reference: Tian et al. 2021, eq. 18.
    """

    SOLVERS = ("eigh", "newton_schulz", "diagonal")

    def __init__(self, rho=0.3, epsilon=0.1, normalize=True, epsilon_inside=False, exponent=0.5, solver="eigh",
                 update_every=1, center=False, use_bias=False, train_kernel=False, **kwargs):
        super().__init__(rho, update_every, center, use_bias, train_kernel, **kwargs)
        if not -1 < epsilon < float("inf"):
            raise ValueError(f"epsilon must be finite and above -1. Received: epsilon={epsilon}")
        if not 0 < exponent < float("inf"):
            raise ValueError(f"exponent must be finite and positive. Received: exponent={exponent}")
        if epsilon_inside and not normalize:
            raise ValueError("epsilon_inside needs normalize=True. Received: normalize=False")
        if solver not in self.SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(self.SOLVERS)}. Received: solver={solver!r}")
        if solver == "newton_schulz" and (exponent != 0.5 or epsilon < FLOOR or epsilon_inside):
            raise ValueError(
                f"newton_schulz needs exponent=0.5, epsilon >= {FLOOR} and epsilon_inside=False. "
                f"Received: exponent={exponent}, epsilon={epsilon}, epsilon_inside={epsilon_inside}"
            )
        self.epsilon, self.normalize, self.epsilon_inside = epsilon, normalize, epsilon_inside
        self.exponent, self.solver = exponent, solver

    def solve(self, correlation):
        if self.solver == "newton_schulz":
            return self._solve_by_products(correlation)
        if self.solver == "diagonal":
            s = tf.linalg.diag_part(correlation)
            return from_eigen(self.lifted(s), tf.eye(tf.shape(s)[0], dtype=s.dtype), s.dtype)
        s, u = eigh(correlation)
        return from_eigen(self.lifted(s), u, correlation.dtype)

    def _solve_by_products(self, correlation):
        unit, scale = unit_scaled(correlation)
        s_max = spectral_norm(unit)
        root = newton_schulz_root(tf.math.divide_no_nan(unit, s_max))
        identity = tf.eye(tf.shape(root)[0], dtype=root.dtype)
        if self.normalize:
            return tf.sign(s_max) * root + self.epsilon * identity  # no root of F = 0
        lift = tf.minimum(self.epsilon * s_max * scale, scale.dtype.max / 2)
        return tf.sqrt(s_max) * tf.sqrt(scale) * root + lift * identity

    def lifted(self, s):
        """Eigenvalues s of F (d,) -> eigenvalues p of W_p (d,)."""
        s = tf.maximum(s, 0)
        s_max = tf.reduce_max(s)
        if not self.normalize:
            return tf.maximum(s**self.exponent + self.epsilon * s_max, 0)
        s = tf.math.divide_no_nan(s, s_max)
        if self.epsilon_inside:
            return tf.maximum(s + self.epsilon, FLOOR) ** self.exponent
        return tf.maximum(s**self.exponent + self.epsilon, FLOOR)

    def get_config(self):
        names = ("epsilon", "normalize", "epsilon_inside", "exponent", "solver")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
