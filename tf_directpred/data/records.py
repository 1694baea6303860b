"""Splits too large to hold: encoded images streamed from TFRecord shards."""

import numpy as np
import tensorflow as tf

from tf_directpred.data.encoded import evaluation_images
from tf_directpred.data.source import Split

_SHUFFLED_RECORDS = 4096  # encoded images in the shuffle buffer, half a gigabyte of ImageNet
_SHARDS_AT_ONCE = 16


class RecordSplit(Split):
    """Encoded images in TFRecord shards, read in a new order every epoch.

    The stream is a function of the seed, so batch t is one of (seed, t); starting within an epoch reads,
    but does not decode, the records before.

    Args:
        shards: list of `(path, first record, number of records)`.
        parse: function of a serialized record returning `(encoded image, label)`.
        size: number of records in all shards.
        side: side of the evaluation images in pixels.
        num_classes: number of labels.
        labelled: whether the labels mean anything.
    """

    read = staticmethod(tf.identity)

    def __init__(self, shards, parse, size, side, num_classes, labelled=True):
        self._shards = [np.array(column) for column in zip(*shards)]
        self._parse = parse
        self.size = size
        self.labelled = labelled
        self._side = side
        self._num_classes = num_classes

    def batches(self, batch_size, examples=None, seed=0):
        if examples is None or examples >= self.size:
            shards = tf.data.Dataset.from_tensor_slices(tuple(self._shards))
            records = shards.flat_map(_read_shard).map(self._parse, tf.data.AUTOTUNE)
        else:
            records = tf.data.Dataset.from_tensor_slices(self._balanced(examples, seed))
        return evaluation_images(records.batch(batch_size), self.read, self._side)

    def training_batches(self, batch_size, seed, start=0, labels=False):
        steps = self.size // batch_size

        def epoch(number):
            # Of this function only: under a global seed of 0, shuffle would compare ours, a tensor, with 0.
            tf.compat.v1.get_default_graph().seed = 1
            records = self._shuffled(seed, number)
            records = records if labels else records.map(lambda image, label: image)
            return records.batch(batch_size, drop_remainder=True)

        first = start // steps
        batches = tf.data.Dataset.range(first, np.iinfo(np.int64).max).flat_map(epoch).skip(start % steps)
        return batches.enumerate(start)

    def _shuffled(self, seed, epoch):
        """An epoch's `(encoded image, label)`s: shards in random order, interleaved, shuffled."""
        seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(self._shards[0])), seeds)
        shards = tf.data.Dataset.from_tensor_slices(
            tuple(tf.gather(column, order) for column in self._shards)
        )
        records = shards.interleave(
            _read_shard, cycle_length=_SHARDS_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE
        )
        shuffle_seed = tf.random.stateless_uniform((), seeds, maxval=np.iinfo(np.int64).max, dtype=tf.int64)
        records = records.shuffle(
            min(self.size, _SHUFFLED_RECORDS), seed=shuffle_seed, reshuffle_each_iteration=False
        )
        return records.map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)

    def _balanced(self, examples, seed):
        """Encoded images and labels of the first examples of each class in a seeded order."""
        # Each class has room for its equal share; the remainder goes, one each, to those that come first.
        room, spare = np.full(self._num_classes, examples // self._num_classes), examples % self._num_classes
        images, labels = [], []
        for image, label in self._shuffled(seed, epoch=0).as_numpy_iterator():
            if self.labelled and room[label] <= 0:
                if room[label] < 0 or not spare:
                    continue
                spare -= 1
            room[label] -= 1
            images.append(image)
            labels.append(label)
            if len(images) == examples:
                break
        return np.array(images, object), np.array(labels, np.int64)


def _read_shard(path, first, count):
    return tf.data.TFRecordDataset(path, buffer_size=2**20).skip(first).take(count)
