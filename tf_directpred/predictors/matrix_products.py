"""What can be had of a symmetric positive semi-definite matrix by matrix products alone.

XLA's eigendecomposition is many times slower than its matrix products; these take its place there.
"""

import tensorflow as tf

POWER_STEPS = 64
PROBES = 8
RIDGE = 5e-7  # bounds the condition; costs at most sqrt(RIDGE) = 7e-4 where an eigenvalue is 0


def spectral_norm(matrix):
    """Largest eigenvalue of a positive semi-definite matrix, by power iteration.

    Args:
        matrix: (d, d).

    Returns:
        A scalar, from 0.3 % below the exact value up to it; 0 for the zero matrix.
    """
    # Several fixed random starts: no eigenvector can be orthogonal to all of them.
    x = tf.random.stateless_normal((matrix.shape[0], PROBES), seed=(2021, 10), dtype=matrix.dtype)
    for _ in range(POWER_STEPS):
        x = tf.math.l2_normalize(tf.matmul(matrix, x), axis=0, epsilon=1e-30)
    return tf.reduce_max(tf.reduce_sum(x * tf.matmul(matrix, x), axis=0))


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
        next_y, next_z = symmetric(tf.matmul(y, t)), symmetric(tf.matmul(t, z))
        next_residual = identity - tf.matmul(next_z, next_y)
        closer = tf.norm(next_residual) < tf.norm(residual)
        y, z, residual = (tf.where(closer, new, old) for new, old in ((next_y, y), (next_z, z), (next_residual, residual)))
    return y * (1 + RIDGE) ** 0.5
