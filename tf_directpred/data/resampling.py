"""Crop, resize, flip and blur along one axis at a time, each image with its own window or width."""

import numpy as np
import tensorflow as tf


def resample(lines, start, length, flip, target, convention):
    """Resizes a window of the second axis, each image its own: by a few taps, or by matrices where it may shrink.

    Args:
        lines: numbers of any type, `(batch, source, n)`.
        start, length, flip, target, convention: as `crop_matrices`.

    Returns:
        float32, `(batch, target, n)`.
    """
    source = lines.shape[1]
    if convention == "torchvision" and source > target:
        matrices = crop_matrices(start, length, flip, source, target, convention)
        return tf.matmul(matrices, tf.cast(lines, tf.float32))
    pixels, weights = (tf.unstack(x, axis=2) for x in crop_taps(start, length, flip, target, convention))
    taps = [tf.cast(tf.gather(lines, pixel, batch_dims=1), tf.float32) for pixel in pixels]
    return tf.add_n([weight[:, :, None] * tap for weight, tap in zip(weights, taps)])


def crop_matrices(start, length, flip, source, target, convention):
    """Matrices that resize the window `[start, start + length)` of `source` pixels to `target` pixels.

    Row o holds the weights of the source pixels i that make target pixel o; c is its centre:
        c = start + (o + 1/2) length / target
        torchvision:  triangle((i + 1/2 - c) / max(1, length / target))    bilinear, antialiased as Pillow's
        deepmind:     keys((i + 1/2 - c))                                  bicubic, a = -1/2
    inside the window and 0 outside it; each row sums to 1.

    Args:
        start, length: int32, `(batch,)`.
        flip: bool, `(batch,)`: mirrored.
        source, target: numbers of pixels.
        convention: "torchvision" or "deepmind".

    Returns:
        float32, `(batch, target, source)`.
    """
    centre, start, end, step = _target_centres(start, length, flip, target)
    pixel = tf.range(source, dtype=tf.float32) + 0.5
    return _weights(pixel, centre, start, end, step, convention)


def crop_taps(start, length, flip, target, convention):
    """The non-zero entries of `crop_matrices`, few and side by side where nothing is shrunk or nothing antialiased.

    Args:
        start, length, flip, target, convention: as `crop_matrices`; by the convention "torchvision",
            length <= target.

    Returns:
        Source pixels, int32, and their weights, float32: each `(batch, target, taps)`, 2 taps or (deepmind) 4.
    """
    taps = 2 if convention == "torchvision" else 4
    centre, start, end, step = _target_centres(start, length, flip, target)
    pixel = tf.floor(centre - 0.5) - (taps // 2 - 1) + tf.range(taps, dtype=tf.float32) + 0.5
    weight = _weights(pixel, centre, start, end, step, convention)
    return tf.cast(tf.clip_by_value(pixel, start, end - 1.0), tf.int32), weight


def _target_centres(start, length, flip, target):
    """Centres of the target pixels, start, end and step, in source pixels, `(batch, target or 1, 1)`."""
    start, length = (tf.cast(x, tf.float32)[:, None, None] for x in (start, length))
    out = tf.range(target, dtype=tf.float32)[None, :, None]
    out = tf.where(flip[:, None, None], target - 1.0 - out, out)
    step = length / target
    return start + (out + 0.5) * step, start, start + length, step


def _weights(pixel, centre, start, end, step, convention):
    distance = tf.abs(pixel - centre)
    if convention == "torchvision":
        weight = tf.maximum(1.0 - distance / tf.maximum(step, 1.0), 0.0)
    else:
        weight = _keys_cubic(distance)
    weight = tf.where((pixel > start) & (pixel < end), weight, 0.0)
    return weight / tf.reduce_sum(weight, axis=2, keepdims=True)


def _keys_cubic(distance):
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return tf.where(distance < 1.0, near, tf.where(distance < 2.0, far, 0.0))


def blur_matrices(sigma, length, kernel, convention):
    """Matrices of a Gaussian blur along an axis, each image with its own standard deviation.

    Args:
        sigma: `(batch,)`, standard deviations in pixels, positive.
        length: number of pixels along the axis.
        kernel: width of the window in pixels, odd.
        convention: "torchvision" (the border reflects) or "deepmind" (zeros lie outside).

    Returns:
        float32, `(batch, length, length)`.
    """
    radius = min(kernel // 2, length - 1)
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    weight = tf.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weight /= tf.reduce_sum(weight, axis=1, keepdims=True)
    # shifts[k] is the matrix that moves the padded axis by offset k, so the blur is their weighted sum.
    mode = "reflect" if convention == "torchvision" else "constant"
    padded = np.pad(np.eye(length, dtype=np.float32), ((radius, radius), (0, 0)), mode=mode)
    shifts = np.stack([padded[k : k + length] for k in range(2 * radius + 1)])
    blurs = tf.matmul(weight, shifts.reshape(len(offsets), -1))
    return tf.reshape(blurs, (-1, length, length))
