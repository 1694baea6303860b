"""Losses of one direction: (prediction, target, projection) -> (batch,).

The training step sums both directions. `target` arrives behind a stop-gradient unless the method wants
none (SimCLR); `projection` is what the predictor was given. All is computed in float32 (float64 inputs
stay float64), whatever the network's precision.
"""

import tensorflow as tf

from tf_directpred.registry import Registry

LOSSES = Registry("loss")

_TINY = 1e-24  # floor of a squared norm: norms are floored at 1e-12, as torch's F.normalize does


def _full_precision(*tensors):
    return [t if t.dtype == tf.float64 else tf.cast(t, tf.float32) for t in tensors]


def _normalized(x):
    return tf.math.l2_normalize(x, axis=-1, epsilon=_TINY)


def _dot(x, y):
    return tf.reduce_sum(x * y, axis=-1)


@LOSSES.register("cosine")
def cosine(scale=1.0):
    """Negative cosine similarity, twice.

        loss = -2 scale cos(prediction, target)

    Args:
        scale: 1 for BYOL and DirectPred (whose loss, BYOL's minus its constant 2, is the sum of both
            directions), 0.25 for SimSiam's published `-1/2 cos`. Learning rates go with the scale.

    Reference: Grill et al. 2020, eq. 2; Chen & He 2021, eq. 1.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive. Received: scale={scale}")

    def loss(prediction, target, projection):
        prediction, target = _full_precision(prediction, target)
        return -2.0 * scale * _dot(_normalized(prediction), _normalized(target))

    return loss


@LOSSES.register("euclidean")
def euclidean(scale=1.0):
    """Squared distance.

        loss = scale |prediction - target|^2

    Reference: Tian et al. 2021, eq. 1 (their J is 1/2 of this, one direction).
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive. Received: scale={scale}")

    def loss(prediction, target, projection):
        prediction, target = _full_precision(prediction, target)
        return scale * tf.reduce_sum(tf.math.squared_difference(prediction, target), axis=-1)

    return loss
