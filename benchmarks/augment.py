"""Views a second of one recipe (random resized crop, flip, colour jitter in random order, grey), made in many ways.

    python benchmarks/augment.py --peers=ENVIRONMENT/bin/python     -> a section of benchmarks/SPEED.md

Takes about four minutes. The environment has the extra `bench`; without --peers (or the variable PEERS) torchvision
is left out. All ways are measured in turn, ROUNDS times.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import speed  # noqa: E402
import tensorflow as tf  # noqa: E402

from tf_directpred.data import Source, augment, view_batches  # noqa: E402
from tf_directpred.data.source import ArraySplit  # noqa: E402

RECIPE = "simclr_cifar(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"
BATCHES = {32: 512, 96: 128, 224: 32}  # images a batch, by side
ROUNDS, SECONDS, WARM_UP = 3, 1.5, 6  # WARM_UP batches, which a pipeline may have made while another way was measured
BARS = {32: (12, 25), 96: (2.2, 5), 224: (1.8, 15)}
OURS, PER_IMAGE = "ours, on the device (jitted)", "tf.image, an image at a time"
TORCHVISION = "torchvision and Pillow, {} workers"
NOTE = (
    "One recipe: random resized crop (bilinear), flip, colour jitter in random order, grey, of uint8 arrays; ours is\n"
    "`augment` in one compiled call, or `view_batches`. Bicubic is what Google's simclr resizes with."
)
PEER = pathlib.Path(__file__).with_name("augment_torchvision.py")


def device(images):
    """One compiled call makes the views of a batch that lies on the device."""
    batch = tf.constant(images[: BATCHES[images.shape[1]]])
    make = tf.function(lambda step: augment(batch, RECIPE, tf.stack([0, step])), jit_compile=True)
    steps = iter(range(10**9))
    return lambda: len(make(tf.constant(next(steps))))


def host(images):
    """The pipeline of training: two views of each image."""
    side = images.shape[1]
    split = ArraySplit(lambda: (images, None), labelled=False)
    source = Source("arrays", (side, side, 3), None, None, {"train": split}, "train", None, None, RECIPE)
    batches = iter(view_batches(source, RECIPE, BATCHES[side], seed=0))
    return lambda: sum(map(len, next(batches).values()))


def per_image(images, method="bilinear"):
    """As Google's simclr (tf2/data_util.py): crop with resize, flip, jitter in random order, grey, in tf.data."""
    side = images.shape[1]

    def view(image):
        image = tf.image.convert_image_dtype(image, tf.float32)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image), tf.zeros([0, 0, 4]), area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10, use_image_if_no_bounding_boxes=True,
        )
        image = tf.ensure_shape(tf.slice(image, begin, size), (None, None, 3))
        image = tf.image.random_flip_left_right(tf.image.resize(image, (side, side), method))
        image = tf.cond(tf.random.uniform([]) < 0.8, lambda: jitter(image), lambda: image)
        grey = lambda: tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3])  # noqa: E731
        return tf.cond(tf.random.uniform([]) < 0.2, grey, lambda: image)

    dataset = tf.data.Dataset.from_tensor_slices(images).repeat().map(view, tf.data.AUTOTUNE)
    batches = iter(dataset.batch(BATCHES[side]).prefetch(tf.data.AUTOTUNE))
    return lambda: len(next(batches))


def jitter(image):
    """Brightness, contrast, saturation and hue in random order, clipped after each."""
    changes = [
        lambda x: x * tf.random.uniform([], 0.6, 1.4),
        lambda x: tf.image.random_contrast(x, 0.6, 1.4),
        lambda x: tf.image.random_saturation(x, 0.6, 1.4),
        lambda x: tf.image.random_hue(x, 0.1),
    ]
    for change in tf.unstack(tf.random.shuffle(tf.range(4))):
        image = tf.switch_case(change, [lambda f=f, x=image: f(x) for f in changes])
        image = tf.clip_by_value(image, 0.0, 1.0)
    return image


def keras_layers(images):
    """Keras's layers on batches, in tf.data; there is no resized crop: a zoom to the same areas stands in."""
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.RandomZoom(height_factor=(-0.72, 0.0), width_factor=(-0.72, 0.0)),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomColorJitter(
            value_range=(0, 1), brightness_factor=0.4, contrast_factor=0.4, saturation_factor=0.4, hue_factor=0.1
        ),
        keras.layers.RandomGrayscale(0.2),
    ]

    def views(batch):
        for layer in layers:
            batch = layer(batch, training=True)
        return batch

    dataset = tf.data.Dataset.from_tensor_slices(images).repeat().batch(BATCHES[images.shape[1]])
    batches = iter(dataset.map(views, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
    return lambda: len(next(batches))


WAYS = {
    OURS: device,
    "ours, on the host (tf.data)": host,
    PER_IMAGE: per_image,
    PER_IMAGE + ", bicubic": lambda images: per_image(images, "bicubic"),
    "Keras's layers, on batches": keras_layers,
}


class Peer:
    """torchvision in a process of its own, which measures when it is told to."""

    def __init__(self, python, side):
        command = [python, str(PEER), str(side), str(BATCHES[side]), str(WARM_UP)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def rate(self, workers, seconds):
        print(workers, seconds, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def rate(make, seconds):
    """Views a second; `make` makes some and says how many."""
    for _ in range(WARM_UP):
        make()
    views, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        views += make()
    return views / elapsed


def measure(side, python):
    """Median views a second of every way, measured in turn."""
    images = np.random.default_rng(0).integers(0, 256, (2 * BATCHES[side], side, side, 3), np.uint8)
    ways = {name: (lambda seconds, make=way(images): rate(make, seconds)) for name, way in WAYS.items()}
    peer = Peer(python, side) if python else None
    for workers in (0, 2) if peer else ():
        ways[TORCHVISION.format(workers)] = lambda seconds, workers=workers: peer.rate(workers, seconds)
    rates = [{name: way(SECONDS) for name, way in ways.items()} for _ in range(ROUNDS)]
    if peer:
        peer.close()
    return {name: statistics.median(row[name] for row in rates) for name in ways}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=os.environ.get("PEERS"), help="Python that has torchvision")
    python = parser.parse_args().peers
    if not python:
        print("Without --peers torchvision is left out.")
    columns = {side: measure(side, python) for side in BATCHES}
    rows = [[name, *(f"{rates[name]:,.0f}" for rates in columns.values())] for name in columns[32]]
    lines = [*speed.table(["views a second", *(f"{side} px" for side in columns)], rows), ""]
    for side, rates in columns.items():
        ours = rates[OURS]
        line = f"Ratio at {side} px: {ours / rates[PER_IMAGE]:.1f} x tf.image (bar {BARS[side][0]})"
        if python:
            line += f", {ours / rates[TORCHVISION.format(0)]:.1f} x torchvision (bar {BARS[side][1]})"
        lines.append(line + ".  ")
    speed.write("Augmentation", [NOTE, "", *lines])


if __name__ == "__main__":
    main()
