"""Features of a labelled set: what an encoder, or any function of images, makes of it."""

import sys
import time

import keras
import numpy as np
import tensorflow as tf

QUIET_SECONDS = 10.0


def extract(encoder, batches):
    """Runs an encoder in inference mode over batches of images.

    After ten seconds it counts the images on standard error.

    Args:
        encoder: a `keras.Model`, images -> representations, or any function of a batch of images, such as
            `raw_pixels`.
        batches: iterable of `(images, labels)`, images as the encoder takes them.

    Returns:
        `(features, labels)`: float32 (N, D) and (N,).

    Raises:
        ValueError: there is no batch.
    """
    forward = _inference(encoder) if isinstance(encoder, keras.Model) else encoder
    counter = _Counter()
    features, labels = [], []
    for images, batch_labels in batches:
        features.append(np.asarray(keras.ops.convert_to_numpy(forward(images)), "float32"))
        labels.append(np.asarray(batch_labels))
        counter.add(len(labels[-1]))
    counter.close()
    if not features:
        raise ValueError("batches must hold at least one batch. Received: none")
    return np.concatenate(features), np.concatenate(labels)


def _inference(encoder):
    @tf.function(reduce_retracing=True)
    def forward(images):
        # In float32 here, since NumPy knows no bfloat16 of its own.
        return tf.cast(encoder(images, training=False), "float32")

    return forward


class _Counter:
    """Counts images on one line of standard error, from `QUIET_SECONDS` on."""

    def __init__(self):
        self.start = self.shown = time.monotonic()
        self.images = 0

    def add(self, images):
        self.images += images
        now = time.monotonic()
        if now - self.start > QUIET_SECONDS and now - self.shown > 1.0:
            self.shown = now
            rate = self.images / (now - self.start)
            print(f"\rfeatures of {self.images:,} images, {rate:,.0f}/s", end="", file=sys.stderr, flush=True)

    def close(self):
        if self.shown > self.start:
            print(file=sys.stderr)
