"""Predictors that are computed, not trained: the correlation F, its moving average, and when to solve."""

import keras
import numpy as np
import tensorflow as tf

from tf_directpred.predictors.base import Predictor
from tf_directpred.predictors.float32_products import matmul
from tf_directpred.predictors.matrix_products import unit_scaled


class ClosedFormPredictor(Predictor):
    """A linear predictor recomputed from the correlation of its inputs; a variant writes only `solve`.

        F_batch = 1/n sum_i z_i z_i^T                  over all views and replicas, uncentred
        F      <- F_batch at the first update, then  rho F + (1 - rho) F_batch
        kernel <- solve(F)                             after steps 0, update_every, 2 update_every, ...
        p       = z kernel (+ bias)

    F (`correlation`) and `kernel` are (d, d), float32 under mixed precision and float64 under floatx
    float64. A batch that is not finite leaves both as they were.

    Args:
        rho: weight of the past in F, in [0, 1); None: the plain average of all batches so far.
        update_every: steps between two solves, >= 1.
        center: subtract the mean, F - mu mu^T, with mu averaged like F (the paper: worse).
        use_bias: add a bias, which the optimizer trains.
        train_kernel: let the optimizer train the kernel between solves (with update_every > 1: the
            paper's hybrid of DirectPred and SGD).

    Raises:
        ValueError: rho or update_every out of range.

    Reference: Tian et al. 2021, section 6 and eq. 18.
    """

    def __init__(self, rho=0.3, update_every=1, center=False, use_bias=False, train_kernel=False, **kwargs):
        super().__init__(**kwargs)
        if rho is not None and not 0 <= rho < 1:
            raise ValueError(f"rho must lie in [0, 1) or be None. Received: rho={rho}")
        if not update_every >= 1 or update_every % 1:
            raise ValueError(f"update_every must be an integer >= 1. Received: update_every={update_every}")
        self.rho, self.update_every, self.center = rho, int(update_every), center
        self.use_bias, self.train_kernel = use_bias, train_kernel

    def solve(self, correlation):
        """Computes the kernel of a given correlation.

        Args:
            correlation: F, (d, d), symmetric, finite.

        Returns:
            The kernel, (d, d), finite; W_p^T where W_p is not symmetric.
        """
        raise NotImplementedError(f"{type(self).__name__} must define solve(correlation) -> kernel")

    def build(self, input_shape):
        d = input_shape[-1]
        self.kernel = self._add_matrix("kernel", (d, d), "identity", trainable=self.train_kernel)
        self.correlation = self._add_matrix("correlation", (d, d))
        if self.center:
            self.mean = self._add_matrix("mean", (d,))
        if self.use_bias:
            self.bias = self.add_weight(shape=(d,), initializer="zeros", name="bias")
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="step", aggregation="only_first_replica"
        )

    def call(self, z, training=False):
        p = tf.matmul(z, tf.cast(self.kernel, z.dtype))
        return p + tf.cast(self.bias, p.dtype) if self.use_bias else p

    def update(self, online, target):
        variables, moments = zip(*self.moments(self._exact(online), self._exact(target)))
        # Averaged over replicas before anything is solved: every replica then solves the same F.
        moments = [tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, m) for m in moments]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(m)) for m in moments])
        step, kernel = tf.convert_to_tensor(self.step), tf.convert_to_tensor(self.kernel)
        first = tf.cast(step > 0, kernel.dtype)
        rho = first * self.rho if self.rho is not None else tf.cast(step / (step + 1), kernel.dtype)
        averaged = [
            tf.where(finite, rho * tf.convert_to_tensor(v) + (1 - rho) * m, tf.convert_to_tensor(v))
            for v, m in zip(variables, moments)
        ]
        due = tf.logical_and(step % self.update_every == 0, finite)
        # Only the solve is conditional: under a strategy no variable may be assigned inside tf.cond.
        self.kernel.assign(tf.cond(due, lambda: self.kernel_of(*averaged), lambda: kernel))
        for variable, value in zip(variables, averaged):
            variable.assign(value)
        self.step.assign(step + tf.cast(finite, step.dtype))

    def moments(self, online, target):
        """The batch's part of each moving average: a list of pairs (variable, mean over the batch)."""
        z = tf.concat(online, axis=0)
        if not self.center:
            return [(self.correlation, second_moment(z, z))]
        z = tf.cast(z, tf.float64)  # after a collapse the rounding of the sums would outlive their difference
        means = second_moment(z, z), tf.reduce_mean(z, axis=0)
        return [(v, tf.cast(m, v.dtype)) for v, m in zip((self.correlation, self.mean), means)]

    def kernel_of(self, correlation, mean=None):
        """The kernel of the moving averages of `moments`, in their order."""
        return self.solve(correlation if mean is None else covariance(correlation, mean))

    def _exact(self, views):
        return [tf.cast(view, self.correlation.dtype) for view in views]

    def _add_matrix(self, name, shape, initializer="zeros", trainable=False):
        # autocast=False: mixed precision would hand a bfloat16 copy to call and update.
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=trainable, name=name, autocast=False, aggregation="mean",
            dtype="float64" if self.variable_dtype == "float64" else "float32",
        )

    def get_config(self):
        names = ("rho", "update_every", "center", "use_bias", "train_kernel")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def second_moment(x, y):
    """E[x y^T] over a batch: (n, d), (n, e) -> (d, e)."""
    return matmul(x, y, transpose_a=True) / tf.cast(tf.shape(x)[0], x.dtype)


def covariance(correlation, mean):
    """E[z z^T] - E[z] E[z]^T (d, d), lifted by what the difference loses to rounding.

    After a collapse to one point the two terms cancel, and what is left is noise of either sign.
    """
    rounding = 4 * np.finfo(correlation.dtype.as_numpy_dtype).eps  # of both moving averages
    lift = rounding * tf.linalg.trace(correlation)
    return correlation - tf.tensordot(mean, mean, axes=0) + lift * tf.eye(mean.shape[0], dtype=mean.dtype)


def eigh(matrix):
    """Eigenvalues and eigenvectors of a symmetric matrix (d, d), in float64; finite for any finite matrix.

    TensorFlow's float32 solver loses a digit at d = 128 and two at d = 1024, and is hardly faster.
    """
    unit, scale = unit_scaled(tf.cast(matrix, tf.float64))
    s, u = tf.linalg.eigh((unit + tf.transpose(unit)) / 2)
    return tf.clip_by_value(s * scale, tf.float64.min, tf.float64.max), u


def from_eigen(p, u, dtype):
    """The matrix U diag(p) U^T (d, d) of eigenvalues p >= 0; those past the range of `dtype` are put at its end."""
    return tf.cast(tf.matmul(u * tf.minimum(p, dtype.max / 2), u, transpose_b=True), dtype)
