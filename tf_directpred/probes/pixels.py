"""Pixels as features: the baselines that a learned representation must beat."""

import numpy as np
import tensorflow as tf

MAX_SIDE = 32
GREY_WEIGHTS = np.array([0.2989, 0.587, 0.114], "float32")


def raw_pixels(images):
    """Flattens RGB images, at most 32x32 large, to numbers in [0, 1].

    Sides longer than 32 are first brought to 32 by averaging over areas.

    Args:
        images: (B, H, W, 3), uint8.

    Returns:
        (B, min(H, 32) min(W, 32) 3) float32.
    """
    pixels = _small(images)
    return pixels.reshape(len(pixels), -1)


def grey_pixels(images):
    """Flattens the grey image, its mean taken off: blind to colour and brightness.

        grey = 0.2989 R + 0.587 G + 0.114 B,   x = grey - mean(grey)

    Sides longer than 32 are first brought to 32 by averaging over areas.

    Args:
        images: (B, H, W, 3), uint8.

    Returns:
        (B, min(H, 32) min(W, 32)) float32.
    """
    grey = _small(images) @ GREY_WEIGHTS
    grey = grey.reshape(len(grey), -1)
    return grey - grey.mean(axis=1, keepdims=True)


def _small(images):
    """The images in [0, 1], no side longer than `MAX_SIDE`."""
    if images.dtype != "uint8":
        raise ValueError(f"images must be uint8. Received: {images.dtype}")
    pixels = np.asarray(images).astype("float32") / 255.0
    height, width = (min(side, MAX_SIDE) for side in pixels.shape[1:3])
    if pixels.shape[1:3] == (height, width):
        return pixels
    return tf.image.resize(pixels, (height, width), method="area").numpy()
