"""Colour operations on planar batches, `(batch, width, 3, height)` in [0, 1], one factor per image.

Columns come first because that is how the crop leaves them; the operations do not care.
"""

import tensorflow as tf

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(1, 5)
_LUMINANCE = (0.2989, 0.587, 0.114)


def to_grey(planar):
    """Luminance, `(batch, width, 1, height)`."""
    red, green, blue = tf.split(planar, 3, axis=2)
    return _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue


def jitter_slot(planar, kinds, factors, convention):
    """Does to each image one of brightness, contrast and saturation, or nothing.

    All of torchvision's three are one blend, which is how a batch of mixed choices needs no branches:
        brightness   f x
        contrast     f x + (1 - f) mean(grey(x))
        saturation   f x + (1 - f) grey(x)
    DeepMind's differ:
        brightness   x + f
        contrast     f (x - mean_c(x)) + mean_c(x)          mean_c: of each channel
        saturation   S of HSV times f, clipped: V + min(f, V / (V - min)) (x - V)
    Each is clipped to [0, 1].

    Args:
        planar: `(batch, width, 3, height)`.
        kinds: int32 `(batch,)`: BRIGHTNESS, CONTRAST, SATURATION or 0, nothing.
        factors: three float tensors `(batch,)`: brightness, contrast, saturation.
        convention: "torchvision" or "deepmind".
    """
    is_brightness, is_contrast, is_saturation = (kinds == kind for kind in (BRIGHTNESS, CONTRAST, SATURATION))
    brightness, contrast, saturation = factors
    scale = tf.where(is_contrast, contrast, 1.0)
    mean_share = 1.0 - scale
    mean = tf.reduce_mean(planar, axis=(1, 3), keepdims=True)  # its grey is the mean of the grey image
    if convention == "torchvision":
        scale = tf.where(is_brightness, brightness, tf.where(is_saturation, saturation, scale))
        grey_share = tf.where(is_saturation, 1.0 - saturation, 0.0)
        grey = to_grey(planar)
        blended = _each(scale) * planar + (_each(grey_share) * grey + _each(mean_share) * to_grey(mean))
    else:
        shift = tf.where(is_brightness, brightness, 0.0)
        blended = _each(scale) * planar + (_each(mean_share) * mean + _each(shift))
        factor = tf.where(is_saturation, saturation, 1.0)
        blended = tf.where(_each(is_saturation), _scale_saturation(planar, factor), blended)
    return tf.clip_by_value(blended, 0.0, 1.0)


def _scale_saturation(planar, factor):
    red, green, blue = tf.split(planar, 3, axis=2)
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    # S = chroma / value may not pass 1, so the factor may not pass value / chroma.
    factor = tf.minimum(_each(factor), value / tf.maximum(chroma, 1e-12))
    return value + factor * (planar - value)


def adjust_hue(planar, shift):
    """Adds `shift`, in turns, to the hue; saturation and value stay.

    Args:
        planar: `(batch, width, 3, height)`.
        shift: `(batch,)`, 0.5 is half a turn.
    """
    red, green, blue = tf.unstack(planar, axis=2)
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    # In sixths of a turn; without chroma any hue will do.
    difference = tf.where(value == red, green - blue, tf.where(value == green, blue - red, red - green))
    place = tf.where(value == red, 0.0, tf.where(value == green, 2.0, 4.0))
    hue = difference / tf.maximum(chroma, 1e-12) + place + 6.0 * shift[:, None, None]

    def channel(opposite):
        """None of the chroma within a sixth of a turn of the opposite hue, all beyond two sixths, linear between."""
        distance = hue - opposite
        distance = tf.abs(distance - 6.0 * tf.round(distance / 6.0))
        return value - chroma * tf.clip_by_value(2.0 - distance, 0.0, 1.0)

    return tf.stack([channel(3.0), channel(5.0), channel(1.0)], axis=2)


def _each(values):
    return values[:, None, None, None]
