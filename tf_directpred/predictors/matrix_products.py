"""What can be had of a symmetric positive semi-definite matrix by matrix products alone.

XLA's eigendecomposition is many times slower than its matrix products; these take its place there.
"""

import tensorflow as tf

from tf_directpred.predictors.float32_products import matmul

SQUARINGS = 12
RIDGE = 5e-7  # bounds the condition; costs at most sqrt(RIDGE) = 7e-4 where an eigenvalue is 0


def unit_scaled(matrix):
    """The matrix over its largest entry's magnitude, which it returns too: no product overflows or vanishes."""
    scale = tf.reduce_max(tf.abs(matrix))
    return tf.math.divide_no_nan(matrix, scale), scale


def spectral_norm(matrix):
    """Largest eigenvalue of a positive semi-definite matrix, by repeated squaring.

        P = A^n,  n = 2^12;    s_max ~ trace(A P) / trace(P), the mean of the eigenvalues s with weights s^n

    Power iteration needs thousands of steps where the largest eigenvalues lie close together, as DirectPred
    makes them; twelve squarings are thousands of steps.

    Args:
        matrix: A, (d, d).

    Returns:
        A scalar, from ln(d) / 2^12 of it below the exact value up to it; 0 for the zero matrix.
    """
    unit, scale = unit_scaled(matrix)
    power = unit
    for _ in range(SQUARINGS):
        power, _ = unit_scaled(matmul(power, power))
    return scale * tf.math.divide_no_nan(tf.reduce_sum(unit * power), tf.linalg.trace(power))


def newton_schulz_root(matrix, iterations=20):
    """Square root of a positive semi-definite matrix whose eigenvalues lie in [0, 1], by matrix products.

        Y_0 = A + ridge I,  Z_0 = I;   T = (3 I - Z Y) / 2;   Y <- Y T -> A^(1/2),  Z <- T Z -> A^(-1/2)

    An iteration is kept only while it brings Z Y closer to I, so that more of them never diverge.

    Args:
        matrix: A, (d, d), symmetric.
        iterations: 20 resolve eigenvalues down to the ridge.

    Returns:
        A^(1/2), (d, d), symmetric; in float32 within 1e-3 in spectral norm, whatever the condition of A.

    Reference: Higham, "Functions of Matrices", 2008, eq. 6.35.
    """
    identity = tf.eye(matrix.shape[0], dtype=matrix.dtype)

    def symmetric(x):
        return (x + tf.transpose(x)) / 2

    y, z = (symmetric(matrix) + RIDGE * identity) / (1 + RIDGE), identity
    residual = identity - y
    for _ in range(iterations):
        t = identity + residual / 2
        next_y, next_z = symmetric(matmul(y, t)), symmetric(matmul(t, z))
        next_residual = identity - matmul(next_z, next_y)
        closer = tf.norm(next_residual) < tf.norm(residual)
        y, z, residual = (tf.where(closer, new, old) for new, old in ((next_y, y), (next_z, z), (next_residual, residual)))
    return y * (1 + RIDGE) ** 0.5
