"""Matrix products in true float32, on devices that would round the factors."""

import tensorflow as tf

_TOP_HALF = -(2**16)  # mask of sign, exponent and 7 bits of mantissa: the float32 numbers that bfloat16 has too


def matmul(x, y, transpose_a=False):
    """x y as float32 (or float64) has it.

    GPUs round float32 factors to TF32 and TPUs to bfloat16; the correlation and its root, from which
    eigenvalues near 0 are wanted, cannot afford that. There each factor is cut into three parts that
    bfloat16 holds exactly, and the products that matter are summed, which these devices do in float32:

        x = x_1 + x_2 + x_3,   x y ~ sum of x_i y_j over i + j <= 4

    Args:
        x, y: matrices of one dtype.
        transpose_a: x^T y.
    """
    if x.dtype != tf.float32 or not rounds_factors():
        return tf.matmul(x, y, transpose_a=transpose_a)
    pairs = [(a, b) for i, a in enumerate(_parts(x)) for j, b in enumerate(_parts(y)) if i + j <= 2]
    return tf.add_n([tf.matmul(a, b, transpose_a=transpose_a) for a, b in reversed(pairs)])  # smallest first


def rounds_factors():
    """Whether the program computes on devices that round."""
    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def _parts(x):
    """Three matrices of few bits that sum to x; by bit mask, since compilers may drop casts there and back."""
    parts = []
    for _ in range(2):
        parts.append(tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), _TOP_HALF), tf.float32))
        x = x - parts[-1]
    return [*parts, x]
