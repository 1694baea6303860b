"""Image classification sets of tensorflow-datasets, by name."""

import difflib
import functools
import os

import numpy as np
import tensorflow as tf

from tf_directpred.data.encoded import resize
from tf_directpred.data.records import RecordSplit
from tf_directpred.data.source import SOURCES, ArraySplit, Source

_IN_MEMORY = 4 * 2**30  # bytes of decoded images that a split may hold in memory
_PRETRAIN = {"stl10": "train+unlabelled"}
_TEST = {"stl10": "test", "imagenet2012": "validation"}  # ImageNet's test split has no labels
_RECIPES = {32: "directpred_cifar", 96: "directpred_stl"}


@SOURCES.register("tfds")
def tfds(name, size=None, pretrain=None, train="train", test=None, data_dir=None):
    """Any image classification set of tensorflow-datasets.

    Splits of small images of one size are decoded into memory at first use; larger ones are streamed.

    Args:
        name: as in the catalogue of tensorflow-datasets: "cifar10", "cifar100", "stl10", "imagenet2012".
        size: side of views and evaluation images; default: that of the set, 224 where its images vary.
        pretrain: split to pre-train on, in the syntax of tensorflow-datasets ("train[:90%]", "a+b");
            default: `train`, and for stl10 "train+unlabelled".
        train, test: labelled splits for probes; default of test: "test" or "validation" where there is one
            with labels, else the last fifth of train.
        data_dir: folder to read prepared data from; None: tensorflow-datasets' own, and what is not there
            is downloaded.

    Raises:
        ValueError: unknown set or split, no set of labelled images, or data neither there nor to be had.
    """
    if size is not None and (not isinstance(size, int) or size < 8):
        raise ValueError(f"size must be an integer of at least 8 pixels. Received: size={size}")
    builder = _prepared(name, data_dir)
    image_key, label_key = _feature_keys(builder)
    if test is None:
        test = _TEST.get(name) or next((s for s in ("test", "validation") if s in builder.info.splits), None)
        if test is None:
            train, test = f"{train}[:80%]", f"{train}[80%:]"
    pretrain = pretrain or _PRETRAIN.get(name, train)
    shape = builder.info.features[image_key].shape
    side = size or (224 if None in shape else min(shape[:2]))
    make = functools.partial(_split, builder, image_key, label_key, side)
    label = builder.info.features[label_key]
    return Source(
        name=name,
        image_shape=(side, side, 3),
        num_classes=label.num_classes,
        class_names=tuple(label.names) if label.names else None,
        splits={split: make(split) for split in (pretrain, train, test)},
        pretrain_split=pretrain,
        train_split=train,
        test_split=test,
        recipe=_RECIPES.get(side) or ("byol_imagenet_T" if side >= 128 else "simclr_cifar"),
    )


def _prepared(name, data_dir):
    """The builder of a set whose data are on disk, after downloading them if that is called for."""
    import tensorflow_datasets
    from tensorflow_datasets.core.download import downloader

    folder = None if data_dir is None else os.path.expanduser(data_dir)
    try:
        builder = tensorflow_datasets.builder(name, data_dir=folder)
    except tensorflow_datasets.core.DatasetNotFoundError:
        near = difflib.get_close_matches(str(name), tensorflow_datasets.list_builders(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Names: tensorflow.org/datasets/catalog"
        raise ValueError(f"tensorflow-datasets has no set {name!r}. {hint}") from None
    if builder.is_prepared():
        return builder
    root = os.path.dirname(os.path.dirname(str(builder.data_path)))
    manual = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    advice = f"give --data_dir the folder that holds {name}/, or run: tfds build {name} --data_dir={root}"
    if manual:
        archives = os.path.join(root, "downloads", "manual")
        advice += f" with the archives in {archives} ({' '.join(manual.split())})"
    missing = f"The dataset {name} is not in {root} (looked for {builder.data_path})"
    if folder is not None:
        raise ValueError(f"{missing}: {advice}")
    downloader.MAX_RETRIES = 3  # of 10, which without a network are three silent minutes
    try:
        builder.download_and_prepare()
    except Exception as error:  # a set's own code may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{missing} and cannot be downloaded ({reason}): {advice}") from error
    return builder


def _feature_keys(builder):
    """Names of the image and of its class label."""
    from tensorflow_datasets import features

    kinds = builder.info.features.items()
    images = [key for key, kind in kinds if isinstance(kind, features.Image)]
    labels = [key for key, kind in kinds if isinstance(kind, features.ClassLabel)]
    supervised = builder.info.supervised_keys or ()
    labels = [key for key in labels if key in supervised] or labels
    if len(images) != 1 or not labels:
        known = ", ".join(builder.info.features)
        raise ValueError(f"The dataset {builder.name} is no set of labelled images. Its features: {known}")
    return images[0], labels[0]


def _split(builder, image_key, label_key, side, name):
    try:
        info = builder.info.splits[name] if builder.info.splits else None
    except (KeyError, ValueError):
        known = ", ".join(builder.info.splits)
        raise ValueError(f"The dataset {builder.name} has no split {name!r}. Known: {known}") from None
    shape = builder.info.features[image_key].shape
    labelled = name != "unlabelled" and "+unlabelled" not in name
    small = info is None or None not in shape and info.num_examples * np.prod(shape[:2]) * 3 <= _IN_MEMORY
    if None not in shape and small:
        load = functools.partial(_load, builder, image_key, label_key, side, name)
        return ArraySplit(load, labelled)
    return _stream(builder, image_key, label_key, side, info, labelled)


def _load(builder, image_key, label_key, side, name):
    """All images, decoded on all cores, uint8 `(n, side, side, 3)`, and their labels."""
    dataset = builder.as_dataset(split=name, shuffle_files=False)

    def example(features):
        image = features[image_key]
        if image.shape[2] == 1:
            image = tf.image.grayscale_to_rgb(image)
        if tuple(image.shape[:2]) != (side, side):
            image = resize(image, (side, side))
        return image, features[label_key]

    batches = dataset.map(example, tf.data.AUTOTUNE).batch(1024).prefetch(2)
    images, labels = zip(*batches.as_numpy_iterator())
    return np.concatenate(images), np.concatenate(labels)


def _stream(builder, image_key, label_key, side, info, labelled):
    from tensorflow_datasets import decode

    features = builder.info.features
    shards = [
        (str(part.filename), part.skip, part.examples_in_shard if part.take < 0 else part.take)
        for part in info.file_instructions
    ]

    def parse(record):
        example = features.deserialize_example(record, decoders={image_key: decode.SkipDecoding()})
        return example[image_key], example[label_key]

    return RecordSplit(shards, parse, info.num_examples, side, features[label_key].num_classes, labelled)
