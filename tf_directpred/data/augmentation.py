"""Batched augmentation: every image its own parameters, a whole batch at a time, pure TensorFlow ops.

One call of `augment` makes one view of each image. It first samples all parameters from the seed
(`sample_parameters`), then applies them (`apply_crop`, `apply_colour`). Both halves have static shapes and
no branches, so the same seed gives the same views eagerly, in tf.data and compiled by XLA.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf

from tf_directpred.data.colour import BRIGHTNESS, CONTRAST, HUE, SATURATION, adjust_hue, jitter_slot, to_grey
from tf_directpred.data.recipes import find_recipe
from tf_directpred.data.resampling import blur_matrices, resample

_ATTEMPTS = {"torchvision": 10, "deepmind": 1}
_NO_BLUR = 1e-3  # a standard deviation so small that the kernel is exactly the unit impulse


def augment(images, recipe, seed, size=None, part=(0, 1)):
    """One augmented view of each image of a batch.

    Args:
        images: uint8, `(batch, height, width, 3)`.
        recipe: a `Recipe`, or a spec such as `"directpred_cifar"` or `"digits(size=28)"`.
        seed: two integers, or an integer tensor of shape `(2,)`; the same seed gives the same views.
        size: `(height, width)` of the views; default: what the recipe says, else that of the images.
        part: `(index, count)`: the images are this one of `count` equal parts of a batch; the index may be a
            scalar tensor.

    Returns:
        float32, `(batch, view height, view width, 3)`, normalised as the recipe says.
    """
    recipe = find_recipe(recipe)
    images = tf.convert_to_tensor(images)
    batch, height, width = _known_shape(images)[:3]
    size = size or view_size(recipe, (height, width))
    parameters = sample_parameters(recipe, seed, batch, part)
    boxes = crop_boxes(recipe, parameters["crop"], height, width)
    planar = apply_crop(images, boxes, parameters["flip"], recipe, size)
    return apply_colour(planar, parameters, recipe)


def augment_crops(crops, recipe, seed, part=(0, 1)):
    """What `augment` does after the crop, to views that `crop_views` cut with the same seed."""
    recipe = find_recipe(recipe)
    parameters = sample_parameters(recipe, seed, _known_shape(crops)[0], part)
    return apply_colour(to_planar(crops, parameters["flip"]), parameters, recipe)


def normalize(images, recipe):
    """Evaluation images as the encoder saw its views: float32 in [0, 1], mean off, divided by std.

    Args:
        images: uint8, `(batch, height, width, 3)`.
        recipe: a `Recipe` or a spec.
    """
    recipe = find_recipe(recipe)
    return (tf.cast(images, tf.float32) / 255.0 - recipe.mean) / recipe.std


def view_size(recipe, image_size):
    """`(height, width)` of the views that `recipe` cuts from images of `image_size`."""
    recipe = find_recipe(recipe)
    return (recipe.size, recipe.size) if recipe.size else tuple(image_size[:2])


def sample_parameters(recipe, seed, batch, part=(0, 1)):
    """Draws what happens to each image.

    Args:
        recipe: a `Recipe` or a spec.
        seed: two integers, or an integer tensor of shape `(2,)`.
        batch: number of images.
        part: `(index, count)`: of `count` equal parts of a larger batch, this one's parameters.

    Returns:
        A dict of tensors, first axis `batch`: `crop` (draws for `crop_boxes`), `flip`, `brightness`,
        `contrast`, `saturation`, `hue`, `order` (index into the 24 orders of the four), `grey`, `sigma` of
        the blur, `solarize`. An image that is not jittered or blurred has the parameters of no change.
    """
    recipe = find_recipe(recipe)
    attempts = _ATTEMPTS[recipe.convention]
    index, count = part
    columns = 2 * attempts + 13
    draws = tf.slice(uniforms(seed, batch * count, columns), [index * batch, 0], [batch, columns])
    crop, draws = draws[:, : 2 * attempts + 2], tf.unstack(draws[:, 2 * attempts + 2 :], axis=1)
    flip, jittered, brightness, contrast, saturation, hue, order, grey, blurred, sigma, solarize = draws
    jittered = jittered < recipe.jitter_probability
    additive = recipe.convention == "deepmind"

    def strength(draw, amount, neutral):
        low = neutral - amount if neutral == 0 else max(0.0, neutral - amount)
        return tf.where(jittered, low + draw * (neutral + amount - low), float(neutral))

    return {
        "crop": crop,
        "flip": flip < recipe.flip,
        "brightness": strength(brightness, recipe.jitter[0], 0 if additive else 1),
        "contrast": strength(contrast, recipe.jitter[1], 1),
        "saturation": strength(saturation, recipe.jitter[2], 1),
        "hue": strength(hue, recipe.jitter[3], 0),
        "order": tf.cast(order * len(_ORDERS), tf.int32),
        "grey": grey < recipe.grey,
        "sigma": tf.where(
            blurred < recipe.blur,
            recipe.blur_sigma[0] + sigma * (recipe.blur_sigma[1] - recipe.blur_sigma[0]),
            _NO_BLUR,
        ),
        "solarize": solarize < recipe.solarize,
    }


def uniforms(seed, rows, columns):
    """float32 in [0, 1), `(rows, columns)`: the same bits from TensorFlow's kernel and from XLA's.

    `tf.random.stateless_uniform` turns a seed into other numbers under XLA than outside it; the counter
    and key given here by hand do not.
    """
    key, counter = tf.unstack(tf.cast(seed, tf.uint64))
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([rows, columns]),
        key=key[None],
        dtype=tf.uint32,
        counter=tf.stack([tf.zeros_like(counter), counter]),
        alg=1,  # Philox
    )
    return tf.cast(tf.cast(tf.bitwise.right_shift(bits, 8), tf.int32), tf.float32) * 2.0**-24


def crop_boxes(recipe, draws, height, width):
    """Crop windows in pixels: of the draws of area and ratio the first that fits.

    Where none fits, torchvision takes the largest central window of an allowed ratio; DeepMind draws once
    and clips the window to the image.

    Args:
        recipe: a `Recipe`.
        draws: `crop` of `sample_parameters`, `(batch, ...)`.
        height, width: of the images in pixels, integers or integer tensors that broadcast to `(batch,)`.

    Returns:
        int32, `(batch, 4)`: top, left, height, width.
    """
    height, width = (tf.cast(length, tf.float32) + tf.zeros_like(draws[:, 0]) for length in (height, width))
    if recipe.crop_area is None:
        return tf.cast(
            tf.stack([tf.zeros_like(height), tf.zeros_like(width), height, width], axis=1), tf.int32
        )
    attempts = _ATTEMPTS[recipe.convention]
    low, high = recipe.crop_area
    area = (low + (high - low) * draws[:, :attempts]) * (height * width)[:, None]
    low, high = np.log(recipe.crop_ratio).astype(np.float32)
    ratio = tf.exp(low + (high - low) * draws[:, attempts : 2 * attempts])
    box_h, box_w = tf.round(tf.sqrt(area / ratio)), tf.round(tf.sqrt(area * ratio))
    fits = (box_w >= 1) & (box_w <= width[:, None]) & (box_h >= 1) & (box_h <= height[:, None])
    if recipe.convention == "deepmind":
        fallback_h, fallback_w = tf.minimum(box_h[:, 0], height), tf.minimum(box_w[:, 0], width)
    else:
        low, high = recipe.crop_ratio
        fallback_h = tf.minimum(height, tf.round(width / low))
        fallback_w = tf.minimum(width, tf.round(height * high))
    first = tf.one_hot(tf.argmax(tf.cast(fits, tf.int32), axis=1), attempts)
    any_fits = tf.reduce_any(fits, axis=1)
    box_h = tf.where(any_fits, tf.reduce_sum(first * box_h, axis=1), fallback_h)
    box_w = tf.where(any_fits, tf.reduce_sum(first * box_w, axis=1), fallback_w)
    place = draws[:, -2:]
    if recipe.convention == "torchvision":
        place = tf.where(any_fits[:, None], place, 0.5)
    slack = tf.stack([height - box_h, width - box_w], axis=1)
    corner = tf.floor(place * tf.where(place == 0.5, slack, slack + 1))
    return tf.cast(tf.concat([corner, tf.stack([box_h, box_w], axis=1)], axis=1), tf.int32)


def apply_crop(images, boxes, flip, recipe, size):
    """Cuts, flips and resizes.

    Args:
        images: uint8, `(batch, height, width, 3)`.
        boxes: of `crop_boxes`.
        flip: bool, `(batch,)`.
        recipe: a `Recipe`.
        size: `(height, width)` of the result.

    Returns:
        float32 in [0, 1], planar: `(batch, width, 3, height)`.
    """
    batch, height, width, _ = _known_shape(images)
    if recipe.crop_area is None and not recipe.flip and (height, width) == tuple(size):
        return to_planar(images)
    top, left, box_h, box_w = tf.unstack(boxes, axis=1)
    by_rows = tf.reshape(images, (batch, height, width * 3))
    rows = resample(by_rows, top, box_h, tf.zeros_like(flip), size[0], recipe.convention) / 255.0
    # XLA would compute the rows anew for each column. It does not look through a condition that it cannot foresee.
    rows = tf.cond(box_h[0] > 0, lambda: tf.identity(rows), lambda: tf.zeros_like(rows))
    by_columns = tf.transpose(tf.reshape(rows, (batch, size[0], width, 3)), (0, 2, 3, 1))
    by_columns = tf.reshape(by_columns, (batch, width, 3 * size[0]))
    columns = resample(by_columns, left, box_w, flip, size[1], recipe.convention)
    return tf.clip_by_value(tf.reshape(columns, (batch, size[1], 3, size[0])), 0.0, 1.0)


def to_planar(images, flip=None):
    """uint8 `(batch, height, width, 3)` as float32 in [0, 1], `(batch, width, 3, height)`.

    Args:
        images: the batch.
        flip: bool, `(batch,)`: mirrored; None: none is.
    """
    planar = tf.transpose(tf.cast(images, tf.float32), (0, 2, 3, 1)) / 255.0
    return planar if flip is None else tf.where(_per_image(flip), tf.reverse(planar, axis=[1]), planar)


def apply_colour(planar, parameters, recipe):
    """Everything after the crop: jitter, grey, blur, solarise, normalise.

    Args:
        planar: float32 in [0, 1], `(batch, width, 3, height)`.
        parameters: of `sample_parameters`.
        recipe: a `Recipe`.

    Returns:
        float32, `(batch, height, width, 3)`.
    """
    if recipe.jitter_probability and any(recipe.jitter):
        planar = _jitter(planar, parameters, recipe)
    if recipe.grey:
        planar = tf.where(_per_image(parameters["grey"]), to_grey(planar), planar)
    if recipe.blur:
        planar = _blur(planar, parameters["sigma"], recipe)
    if recipe.solarize:
        inverted = tf.where(planar < 0.5, planar, 1.0 - planar)
        planar = tf.where(_per_image(parameters["solarize"]), inverted, planar)
    images = tf.transpose(planar, (0, 3, 1, 2))
    if any(recipe.mean) or set(recipe.std) != {1.0}:
        images = (images - recipe.mean) / recipe.std
    return images


_ORDERS = tuple(itertools.permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE)))


def _schedule():
    """For each order: what its four blends do (0: nothing), and whether its hue is the first of the two."""
    rows = []
    for order in _ORDERS:
        place = order.index(HUE)
        blends = [kind for kind in order if kind != HUE]
        blends.insert((0, 3, 2, 3)[place], 0)
        rows.append(blends + [place < 2])
    return np.array(rows, np.int32)


def _jitter(planar, parameters, recipe):
    """Brightness, contrast, saturation and hue, each image in its own order.

    Blend, hue, blend, blend, hue, blend: every order of three blends and a hue is contained in these, so each
    image does in each of them what its order asks for there, or nothing. The conditions keep XLA from fusing
    them into one, in which it would compute the past of each pixel anew for every channel and every mean.
    """
    *kinds, early = tf.unstack(tf.gather(tf.constant(_schedule()), parameters["order"]), axis=1)
    factors = [parameters[name] for name in ("brightness", "contrast", "saturation")]
    first = tf.where(early > 0, parameters["hue"], 0.0)
    second = parameters["hue"] - first

    def blend(planar, kind):
        change = functools.partial(jitter_slot, planar, kind, factors, recipe.convention)
        return tf.cond(tf.reduce_any(kind > 0), change, lambda: planar)

    def turn(planar, shift):
        change = functools.partial(adjust_hue, planar, shift)
        return tf.cond(tf.reduce_any(shift != 0.0), change, lambda: planar)

    planar = turn(blend(planar, kinds[0]), first)
    planar = turn(blend(blend(planar, kinds[1]), kinds[2]), second)
    return blend(planar, kinds[3])


def _blur(planar, sigma, recipe):
    _, width, _, height = shape = _known_shape(planar)
    columns = blur_matrices(sigma, width, recipe.blur_kernel, recipe.convention)
    rows = blur_matrices(sigma, height, recipe.blur_kernel, recipe.convention)
    lines = tf.matmul(columns, tf.reshape(planar, (-1, width, 3 * height)))
    return tf.reshape(tf.matmul(tf.reshape(lines, (-1, width * 3, height)), rows, transpose_b=True), shape)


def _per_image(values):
    return values[:, None, None, None]


def _known_shape(tensor):
    """The shape, each axis as a number where it is known and as a scalar tensor where not."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if known is None else known for axis, known in enumerate(tensor.shape)]
