"""Splits whose images stay encoded (JPEG, PNG) until the batch that shows them."""

import os

import numpy as np
import tensorflow as tf

from tf_directpred.data.augmentation import crop_boxes, sample_parameters
from tf_directpred.data.source import Split, choose_examples, gathered_batches, on_host, shuffled_indices

_EVALUATION_MARGIN = 8 / 7  # shorter side : evaluation size, as 256 : 224
_UNREADABLE = "Cannot read or decode the image "


class EncodedSplit(Split):
    """Image files, each read when a batch needs it.

    Args:
        paths: list of paths.
        labels: integers, one per path, or None.
        size: side of the evaluation images in pixels.
    """

    read = staticmethod(tf.io.read_file)  # what turns an element of training_batches into an encoded image

    def __init__(self, paths, labels, size):
        self.paths = np.asarray(paths)
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.labelled = labels is not None
        self.size = len(paths)
        self._side = size

    def batches(self, batch_size, examples=None, seed=0):
        chosen = choose_examples(self.labels, self.size, examples, seed)
        labels = self.labels[chosen] if self.labelled else np.full(len(chosen), -1, np.int64)
        files = tf.data.Dataset.from_tensor_slices((self.paths[chosen], labels)).batch(batch_size)
        return evaluation_images(files, self.read, self._side)

    def training_batches(self, batch_size, seed, start=0, labels=False):
        arrays = (on_host(self.paths), on_host(self.labels)) if labels else on_host(self.paths)
        return gathered_batches(arrays, shuffled_indices(self.size, batch_size, seed, start))


def evaluation_images(items, read, side):
    """Turns a dataset of `(items, labels)` into one of `(images, labels)`.

    The shorter side is resized to 8/7 of `side` pixels, the centre `side x side` is kept.

    Args:
        items: dataset of batches of strings that `read` turns into encoded images.
        read: function of one string.
        side: pixels.
    """

    def decode(item):
        image = tf.io.decode_image(read(item), channels=3, expand_animations=False)
        image.set_shape((None, None, 3))
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        scale = round(side * _EVALUATION_MARGIN) / tf.reduce_min(shape)
        image = resize(image, tf.cast(tf.round(shape * scale), tf.int32))
        top, left = tf.unstack((tf.shape(image)[:2] - side) // 2)
        return tf.ensure_shape(image[top : top + side, left : left + side], (side, side, 3))

    return items.map(lambda names, labels: (decode_each(decode, names, names), labels)).prefetch(2)


@tf.autograph.experimental.do_not_convert  # tracing takes a third of the time
def crop_views(items, read, recipes, seeds, size, part=(0, 1)):
    """Crops of both views of each image; of a JPEG only the window around them is decoded, once.

    Args:
        items: string, `(batch,)`, that `read` turns into encoded images.
        read: function of one string.
        recipes: `Recipe` of each view.
        seeds: of each view, as `augment` takes it.
        size: `(height, width)` of the views.
        part: of a larger batch, as `augment` takes it.

    Returns:
        uint8 `(batch, height, width, 3)` for each view, not yet flipped.
    """

    # Sizes first, so that the windows of the whole batch are found at once.
    encoded, shapes = decode_each(lambda item: _read_with_size(read, item), items, items)
    boxes = []
    for recipe, seed in zip(recipes, seeds):
        draws = sample_parameters(recipe, seed, items.shape[0], part)["crop"]
        boxes.append(crop_boxes(recipe, draws, shapes[:, 0], shapes[:, 1]))

    def decode(encoded, *boxes):
        corner = tf.reduce_min([box[:2] for box in boxes], axis=0)
        extent = tf.reduce_max([box[:2] + box[2:] for box in boxes], axis=0) - corner
        image = tf.cond(
            tf.io.is_jpeg(encoded),
            lambda: tf.io.decode_and_crop_jpeg(encoded, tf.concat([corner, extent], axis=0), channels=3),
            lambda: _window(tf.io.decode_png(encoded, channels=3), corner, extent),
        )
        crops = [_window(image, box[:2] - corner, box[2:]) for box in boxes]
        return tuple(resize(crop, size, recipe.convention) for crop, recipe in zip(crops, recipes))

    return decode_each(decode, items, (encoded, *boxes))


def _window(image, corner, extent):
    return tf.slice(image, [corner[0], corner[1], 0], [extent[0], extent[1], 3])


def _read_with_size(read, item):
    """The encoded image and its `(height, width)`, from the header alone."""
    encoded = read(item)

    def of_png():  # bytes 16 to 23: width and height, big-endian
        header = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)
        return tf.reverse(tf.ensure_shape(header, (2,)), axis=[0])

    size = tf.cond(tf.io.is_jpeg(encoded), lambda: tf.io.extract_jpeg_shape(encoded)[:2], of_png)
    return encoded, size


def resize(image, size, convention="torchvision"):
    """uint8 image resized as the convention's crops are: antialiased bilinear, or bicubic.

    Args:
        image: uint8 `(height, width, 3)`.
        size: `(new height, new width)`.
        convention: "torchvision" or "deepmind", see `Recipe`.
    """
    if convention == "deepmind":
        image = tf.clip_by_value(tf.image.resize(image, size, tf.image.ResizeMethod.BICUBIC), 0, 255)
    else:
        # Where both axes are magnified antialiasing changes nothing and takes three times as long.
        shrunk = tf.reduce_any(tf.shape(image)[:2] > size)
        image = tf.cond(
            shrunk, lambda: tf.image.resize(image, size, antialias=True), lambda: tf.image.resize(image, size)
        )
    return tf.cast(image + 0.5, tf.uint8)


@tf.autograph.experimental.do_not_convert
def decode_each(decode, names, inputs):
    """Applies `decode` to each image of a batch, several at a time; an image that fails is named.

    Args:
        decode: function of one element of `inputs`.
        names: string `(batch,)`, for the message.
        inputs: tensor or tuple of tensors, first axis `batch`.

    Returns:
        What `decode` returns, batched.

    Raises:
        tf.errors.InvalidArgumentError: when run, with "Cannot read or decode the image NAME".
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    batch = tf.size(names, out_type=tf.int64)
    images = tf.data.Dataset.from_tensor_slices((tf.range(batch), inputs)).map(
        lambda index, each: (index, decode(*each)), num_parallel_calls=os.cpu_count(), deterministic=True
    )
    # An image that fails is left out, so that the numbers of those that are there tell which one it was.
    done = images.ignore_errors().batch(batch)
    nothing = tf.nest.map_structure(
        lambda spec: tf.zeros([0, *spec.shape[1:]], spec.dtype), done.element_spec
    )
    indices, decoded = done.reduce(nothing, lambda _, only: only)
    missing = tf.sets.difference(tf.range(batch)[None], indices[None]).values
    first = tf.gather(tf.concat([names, [""]], axis=0), tf.concat([missing, [batch]], axis=0)[0])
    found = tf.debugging.Assert(tf.size(missing) == 0, [tf.strings.join([_UNREADABLE, first])])
    with tf.control_dependencies([found]):
        return tf.nest.map_structure(
            lambda values: tf.ensure_shape(values, [names.shape[0], *values.shape[1:]]), decoded
        )


def unreadable_image(error):
    """The one line that names the image if `error` came from one that cannot be decoded, else None.

    Args:
        error: exception raised while batches were read.
    """
    for line in str(error).splitlines():
        if _UNREADABLE in line:
            return line[line.index(_UNREADABLE) :].rstrip("]")
    return None
