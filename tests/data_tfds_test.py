import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from tf_directpred.data import SOURCES, view_batches
from tf_directpred.data.records import RecordSplit

DATA_DIR = os.environ.get("TFDS_DATA_DIR")
needs_data = pytest.mark.skipif(not DATA_DIR, reason="TFDS_DATA_DIR names no prepared data")


def test_stl10_pretrains_on_train_and_unlabelled():
    with tensorflow_datasets.testing.mock_data(num_examples=12):
        source = SOURCES.create("tfds(name='stl10')")
        assert source.pretrain_split == "train+unlabelled"
        assert (source.train_split, source.test_split) == ("train", "test")
        assert (
            source.image_shape == (96, 96, 3)
            and source.num_classes == 10
            and source.recipe == "directpred_stl"
        )
        images, labels = source.splits["test"].arrays()
        assert images.shape == (12, 96, 96, 3) and images.dtype == np.uint8 and labels.dtype == np.int64
        assert source.splits["train+unlabelled"].arrays()[1] is None
        batch = next(view_batches(source, source.recipe, 4, 0).as_numpy_iterator())
        assert batch["view1"].shape == (4, 96, 96, 3)


def test_grey_and_resized_sets_become_rgb_of_that_size():
    with tensorflow_datasets.testing.mock_data(num_examples=3):
        source = SOURCES.create("tfds(name='mnist', size=32, train='train[:90%]', test='test')")
        images, _ = source.splits["test"].arrays()
        assert source.train_split == source.pretrain_split == "train[:90%]"
    assert images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_a_set_without_labelled_images():
    with tensorflow_datasets.testing.mock_data():
        with pytest.raises(ValueError, match="imdb_reviews is no set of labelled images. Its features: "):
            SOURCES.create("tfds(name='imdb_reviews')")


def test_missing_data_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(ValueError) as error:
        SOURCES.create("tfds(name='cifar100')", data_dir=str(tmp_path))
    message = str(error.value)
    assert "\n" not in message
    assert f"cifar100 is not in {tmp_path} (looked for {tmp_path}/cifar100/" in message
    assert "tfds build cifar100" in message


def test_missing_imagenet_says_where_the_archives_go(tmp_path):
    with pytest.raises(ValueError) as error:
        SOURCES.create("tfds(name='imagenet2012')", data_dir=str(tmp_path))
    message = str(error.value)
    assert "\n" not in message
    assert f"{tmp_path}/downloads/manual" in message
    assert "ILSVRC2012_img_train.tar" in message and "ILSVRC2012_img_val.tar" in message


def test_a_failed_download_is_one_line(monkeypatch, tmp_path):
    def no_network(self):
        raise ConnectionError("Max retries exceeded\nsecond line")

    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", no_network)
    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "is_prepared", lambda self: False)
    with pytest.raises(ValueError) as error:
        SOURCES.create("tfds(name='cifar100')")
    message = str(error.value)
    assert "\n" not in message and "cannot be downloaded (Max retries exceeded)" in message


def test_an_unknown_set_and_a_bad_size():
    with pytest.raises(ValueError, match="no set 'cifar11'. Did you mean .*cifar10"):
        SOURCES.create("tfds(name='cifar11')")
    with pytest.raises(ValueError, match="tfds needs name|needs name"):
        SOURCES.create("tfds")
    with pytest.raises(
        ValueError, match="size must be an integer of at least 8 pixels. Received: size=large"
    ):
        SOURCES.create("tfds(name='cifar10', size='large')")


# Streamed records ---------------------------------------------------------------------------------------

RECORDS, SHARDS = 50, 5


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Shards of 10 one-coloured PNGs; record i is everywhere i and of class i % 4."""
    root, shards = tmp_path_factory.mktemp("records"), []
    for shard in range(SHARDS):
        path = str(root / f"{shard}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for i in range(10 * shard, 10 * shard + 10):
                png = tf.io.encode_png(tf.fill((20, 24 + i, 3), tf.cast(i, tf.uint8))).numpy()
                writer.write(bytes([i % 4]) + png)
        shards.append((path, 0, 10))

    def parse(record):
        label = tf.cast(tf.io.decode_raw(tf.strings.substr(record, 0, 1), tf.uint8)[0], tf.int64)
        return tf.strings.substr(record, 1, -1), label

    return RecordSplit(shards, parse, RECORDS, side=16, num_classes=4)


def shown(split, start, steps, seed=0):
    batches = split.training_batches(8, seed, start).take(steps).as_numpy_iterator()
    return [(t, [tf.io.decode_png(image)[0, 0, 0].numpy() for image in images]) for t, images in batches]


def test_a_stream_shuffles_all_records_of_an_epoch_and_starts_anywhere(records):
    whole = shown(records, 0, 18)  # 6 batches an epoch
    assert [t for t, _ in whole] == list(range(18))
    epochs = [sum((ids for _, ids in whole[e : e + 6]), []) for e in (0, 6, 12)]
    for epoch in epochs:
        assert len(set(epoch)) == 48
        assert len({i // 10 for i in epoch[:8]}) > 1  # not shard by shard
    assert epochs[0] != epochs[1] != epochs[2]
    for start in (1, 6, 8, 17):
        assert shown(records, start, 1) == whole[start : start + 1]
    assert shown(records, 0, 6, seed=1) != whole[:6]


def test_evaluation_of_a_stream(records):
    images, labels = records.arrays()
    np.testing.assert_array_equal(images[:, 5, 5, 0], np.arange(RECORDS))
    np.testing.assert_array_equal(labels, np.arange(RECORDS) % 4)
    images, labels = records.arrays(examples=10, seed=3)
    assert images.shape == (10, 16, 16, 3)
    assert sorted(np.bincount(labels)) == [2, 2, 3, 3]
    np.testing.assert_array_equal(images[:, 5, 5, 0] % 4, labels)
    assert len(set(images[:, 5, 5, 0])) == 10
    again, _ = records.arrays(examples=10, seed=3)
    np.testing.assert_array_equal(again, images)


# Real data ----------------------------------------------------------------------------------------------


@needs_data
def test_real_cifar10():
    source = SOURCES.create("tfds(name='cifar10')", data_dir=DATA_DIR)
    images, labels = source.splits["test"].arrays()
    np.testing.assert_array_equal(np.bincount(labels), [1000] * 10)
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, (0.4942, 0.4851, 0.4504), atol=0.01)
    batch = next(view_batches(source, source.recipe, 64, 0).as_numpy_iterator())
    assert abs(batch["view1"].mean()) < 0.4 and 0.6 < batch["view1"].std() < 1.4
    with pytest.raises(
        ValueError, match="cifar10 has no split 'val'. Known: .*test.*train|Known: .*train.*test"
    ):
        SOURCES.create("tfds(name='cifar10', test='val')", data_dir=DATA_DIR)


@needs_data
def test_real_imagenet():
    source = SOURCES.create("tfds(name='imagenet2012')", data_dir=DATA_DIR)
    assert (
        source.image_shape == (224, 224, 3)
        and source.num_classes == 1000
        and source.test_split == "validation"
    )
    images, labels = source.splits["validation"].arrays(examples=8)
    assert images.shape == (8, 224, 224, 3) and len(set(labels)) == 8
    batch = next(view_batches(source, "byol_imagenet_T", 8, 0).as_numpy_iterator())
    assert batch["view2"].shape == (8, 224, 224, 3) and np.isfinite(batch["view2"]).all()
