"""Batch normalisation in one fused operation."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_directpred")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation, trained through TensorFlow's fused operation.

    Variables, numbers and arguments are those of `keras.layers.BatchNormalization`; only training steps are
    faster, since Keras computes the moments and the scaling by separate operations:

        y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
        moving_mean     <- momentum moving_mean     + (1 - momentum) mean
        moving_variance <- momentum moving_variance + (1 - momentum) variance        (biased, over n values)

    Inference, synchronized statistics, masks, float64 and inputs of other ranks than 2 and 4 take Keras's own
    path. The defaults are those of every published recipe here, not Keras's.

    Args:
        axis: the channels' axis.
        momentum: weight of the past in the moving statistics, in [0, 1].
        epsilon: added to the variance, positive.
        **kwargs: as `keras.layers.BatchNormalization` (`center`, `scale`, `synchronized`, ...).
    """

    def __init__(self, axis=-1, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if training and self.trainable and mask is None and self._fusible(inputs):
            return self._fused(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _fusible(self, inputs):
        rank = len(inputs.shape)
        channels_last = self.axis in (-1, rank - 1)
        local = not self.synchronized and not self.renorm
        # The fused operation keeps its statistics in float32 whatever the input, so float64 is not for it.
        return local and channels_last and rank in (2, 4) and inputs.dtype != "float64"

    def _fused(self, inputs):
        x = inputs if len(inputs.shape) == 4 else inputs[:, None, None, :]
        channels = tf.shape(x)[-1:]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # It reports the variance over n - 1; Keras keeps the one over n.
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), "float32")
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * (count - 1.0) / count)
        return y if len(inputs.shape) == 4 else y[:, 0, 0, :]

    def _move(self, moving, value):
        moving.assign(moving * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum))
