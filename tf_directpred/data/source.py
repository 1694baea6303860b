"""What a dataset is to the rest of the library: a `Source` with its named `Split`s."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tf_directpred.registry import Registry

SOURCES = Registry("dataset")


class Split:
    """The images of one split, readable as arrays, as evaluation batches and in training order.

    Attributes:
        size: number of examples.
        labelled: whether the examples carry class labels.
    """

    size: int
    labelled: bool

    def batches(self, batch_size, examples=None, seed=0):
        """Evaluation images in fixed order, the last batch possibly smaller.

        Args:
            batch_size: number of images a batch.
            examples: None for all, or the size of a seeded, class-balanced subset.
            seed: chooses the subset.

        Returns:
            A finite tf.data.Dataset of `(images, labels)`: uint8 `(batch, height, width, 3)` and int64
            `(batch,)`; labels are -1 where the split has none.
        """
        raise NotImplementedError

    def training_batches(self, batch_size, seed, start=0, labels=False):
        """Infinite dataset of `(t, examples)`, t = start, start + 1, ...; each epoch in a new order.

        `examples` are images, uint8 `(batch, height, width, 3)`, or encoded images, string `(batch,)`;
        with `labels`, pairs of these and their labels, int64 `(batch,)`.
        """
        raise NotImplementedError

    def arrays(self, examples=None, seed=0):
        """Evaluation images and labels at once: uint8 `(n, height, width, 3)`, int64 `(n,)` or None."""
        images, labels = zip(*self.batches(512, examples, seed).as_numpy_iterator())
        return np.concatenate(images), np.concatenate(labels) if self.labelled else None


class ArraySplit(Split):
    """Decoded images of one size, held in memory as uint8.

    Args:
        load: function without arguments returning `(images, labels)`, uint8 `(n, height, width, 3)` and
            integers `(n,)` or None; called at the first use.
        labelled: whether `load` returns labels.
    """

    def __init__(self, load, labelled=True):
        self._load = load
        self.labelled = labelled

    @functools.cached_property
    def _arrays(self):
        images, labels = self._load()
        return images, np.asarray(labels, np.int64) if self.labelled else None

    @property
    def size(self):
        return len(self._arrays[0])

    def arrays(self, examples=None, seed=0):
        images, labels = self._arrays
        chosen = choose_examples(labels, self.size, examples, seed)
        return images[chosen], labels[chosen] if self.labelled else None

    def batches(self, batch_size, examples=None, seed=0):
        images, labels = self.arrays(examples, seed)
        labels = labels if self.labelled else np.full(len(images), -1, np.int64)
        return gathered(images, labels, batch_size)

    def training_batches(self, batch_size, seed, start=0, labels=False):
        arrays = tuple(map(on_host, self._arrays)) if labels else on_host(self._arrays[0])
        return gathered_batches(arrays, shuffled_indices(self.size, batch_size, seed, start))


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset.

    Attributes:
        name: as in its spec.
        image_shape: `(height, width, 3)` of evaluation images; views have it too unless the recipe says else.
        num_classes: number of classes; None without labels.
        class_names: tuple of names, or None.
        splits: dict of `Split`s by name.
        pretrain_split: name of the split to train the encoder on.
        train_split, test_split: names of the labelled splits for probes; None where there are none.
        recipe: name of the augmentation recipe that suits it.
    """

    name: str
    image_shape: tuple
    num_classes: int | None
    class_names: tuple | None
    splits: dict
    pretrain_split: str
    train_split: str | None
    test_split: str | None
    recipe: str


def on_host(array):
    """`array` as a tensor in host memory, once, however many pipelines read it."""
    with tf.device("cpu:0"):
        return tf.constant(array)


def gathered(images, labels, batch_size):
    """Finite dataset of consecutive `(images, labels)` batches of two arrays."""
    images, labels = on_host(images), on_host(labels)
    indices = tf.data.Dataset.range(labels.shape[0]).batch(batch_size)
    return indices.map(lambda i: (tf.gather(images, i), tf.gather(labels, i))).prefetch(2)


def gathered_batches(arrays, steps):
    """Turns a dataset of `(t, indices)` into one of `(t, rows of an array, or of each array of a tuple)`."""

    def gather(t, indices):
        return t, tf.nest.map_structure(lambda array: tf.gather(array, indices), arrays)

    return steps.map(gather, tf.data.AUTOTUNE, deterministic=True)


def shuffled_indices(size, batch_size, seed, start):
    """Infinite dataset of `(t, indices of the examples of batch t)`, a function of (seed, t) alone.

    An epoch has `size // batch_size` batches; what is left over belongs to no batch of that epoch.
    """
    steps = size // batch_size

    def batch(t):
        epoch, step = t // steps, t % steps
        places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        shuffle_seed = tf.stack([tf.cast(seed, tf.int64), epoch])
        return t, tf.random.experimental.index_shuffle(places, shuffle_seed, size - 1)

    return tf.data.Dataset.range(start, np.iinfo(np.int64).max).map(batch)


def choose_examples(labels, size, examples, seed):
    """Indices, ascending, of a seeded subset with as equal a number of each class as there is.

    Args:
        labels: integers `(size,)`, or None.
        size: number of examples to choose from.
        examples: number to choose; None, or `size` and more, for all.
        seed: chooses.
    """
    if examples is None or examples >= size:
        return np.arange(size)
    order = np.random.default_rng(seed).permutation(size)
    if labels is None:
        return np.sort(order[:examples])
    # The rank of each example within its class, in shuffled order: lowest ranks first is round-robin.
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    _, first, counts = np.unique(shuffled[by_class], return_index=True, return_counts=True)
    rank = np.empty(size, np.int64)
    rank[by_class] = np.arange(size) - np.repeat(first, counts)
    return np.sort(order[np.argsort(rank, kind="stable")[:examples]])
