"""A folder of JPEG and PNG images as a dataset."""

import os

import numpy as np
import tensorflow as tf

from tf_directpred.data.encoded import EncodedSplit
from tf_directpred.data.source import SOURCES, Source

_SUFFIXES = (".jpg", ".jpeg", ".png")
_TEST_FOLDERS = ("test", "val", "validation")
_HELD_OUT = 5  # every fifth labelled image of a class, where no test folder is


@SOURCES.register("folder")
def folder(path=None, size=None, seed=0, data_dir=None):
    """Images of any sizes in a folder and its sub-folders.

    Sub-folders `train` and `test` (or `val`, `validation`) are splits; other sub-folders are classes, in
    sorted order. A labelled set without a test split holds out a seeded fifth of each class. Images that
    lie beside class folders, or in one folder only, have no labels: they pre-train, nothing evaluates.
    EXIF orientation is not applied, an alpha channel is dropped, grey and CMYK images become RGB.

    Args:
        path: the folder; default `data_dir`.
        size: side of views and evaluation images in pixels; default: the shorter side of the first image,
            224 at most.
        seed: chooses the held-out images.
        data_dir: the folder, where the spec names none.
    """
    path = path or data_dir
    if not path:
        raise ValueError('The dataset folder needs a path: folder(path="..."), or data_dir')
    if size is not None and (not isinstance(size, int) or size < 8):
        raise ValueError(f"size must be an integer of at least 8 pixels. Received: size={size}")
    path = os.path.expanduser(path)
    train, tests = _list_splits(path)
    classes = _classes(train)
    size = size or _default_size(train[0][0])
    splits, test_split = {}, None
    if classes:
        paths, labels = _labelled(train, classes, path)
        test = next((files for files in tests if files and all(label for _, label in files)), None)
        if test is None:
            held = _hold_out(labels, seed)
            splits["test"] = EncodedSplit(paths[held], labels[held], size)
            paths, labels = paths[~held], labels[~held]
        else:
            splits["test"] = EncodedSplit(*_labelled(test, classes, path), size)
        splits["train"] = EncodedSplit(paths, labels, size)
        test_split = "test"
    else:
        splits["train"] = EncodedSplit([file for file, _ in train], None, size)
    return Source(
        name="folder",
        image_shape=(size, size, 3),
        num_classes=len(classes) or None,
        class_names=tuple(classes) or None,
        splits=splits,
        pretrain_split="train",
        train_split="train" if classes else None,
        test_split=test_split,
        recipe=recipe_for(size),
    )


def recipe_for(size):
    """Name of the recipe that suits natural images of `size` pixels."""
    return "simclr_cifar" if size < 64 else "directpred_stl" if size < 128 else "byol_imagenet_T"


def _list_splits(path):
    """`(files of train, [files of each test folder])`, a file being `(path, class folder or None)`."""
    if not os.path.isdir(path):
        raise ValueError(f"The image folder {path} does not exist or is no folder")
    try:
        folders = {entry.name for entry in os.scandir(path) if entry.is_dir()}
        tests = [_list_images(os.path.join(path, name)) for name in _TEST_FOLDERS if name in folders]
        if "train" in folders:
            train = _list_images(os.path.join(path, "train"))
        else:
            train = _list_images(path, skip=_TEST_FOLDERS)
    except OSError as error:
        raise ValueError(
            f"The image folder {error.filename or path} cannot be read: {error.strerror}"
        ) from error
    if not train:
        raise ValueError(f"The image folder {path} holds no {', '.join(_SUFFIXES)} files to train on")
    return train, tests


def _list_images(root, skip=()):
    """Sorted `(path, name of the folder directly under root or None)` of every image below `root`."""

    def fail(error):
        raise error

    images, seen = [], set()
    for here, folders, files in os.walk(root, onerror=fail, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        if here == root:
            folders[:] = [name for name in folders if name not in skip]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(here, root).split(os.sep)[0]
        label = None if below == "." else below
        names = sorted(
            name for name in files if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        )
        images += [(os.path.join(here, name), label) for name in names]
    return images


def _classes(files):
    """Sorted class folders; none if an image lies in no class folder or all lie in one."""
    labels = {label for _, label in files}
    return [] if None in labels or len(labels) < 2 else sorted(labels)


def _labelled(files, classes, path):
    unknown = sorted({label for _, label in files} - set(classes))
    if unknown:
        raise ValueError(f"The test folder in {path} has classes that train has not: {', '.join(unknown)}")
    number = {name: index for index, name in enumerate(classes)}
    paths, labels = zip(*files)
    return np.array(paths), np.array([number[label] for label in labels])


def _hold_out(labels, seed):
    """True for a fifth of each class, at least one image of a class that has two."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: max(len(members) // _HELD_OUT, len(members) > 1)]] = True
    return held


def _default_size(path):
    try:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    except tf.errors.OpError:
        raise ValueError(f"Cannot read or decode the image {path}") from None
    return int(min(*image.shape[:2], 224))
