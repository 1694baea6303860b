"""Linear classifiers on crops of every step, the encoder frozen."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.config import Config
from tf_directpred.data import find_recipe, labelled_crops
from tf_directpred.data.source import ArraySplit, Source
from tf_directpred.linear_evaluation import linear_evaluation, table
from tf_directpred.train import Experiment

CONFIG = Config(
    run_dir="unused", dataset="digits(clutter=False)", augment="none", encoder="convnet(widths=(4,), strides=(8,))",
    projector="none", probe_epochs=60, linear_rates="0.5,0.001", batch_size=64,
)


def coloured(labelled=True):
    """8 x 8 images of six colours, whose labels a linear function of the mean colour tells."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 6
    colours = rng.integers(0, 256, (6, 3))[labels]
    images = np.clip(colours[:, None, None] + rng.integers(-9, 10, (120, 8, 8, 3)), 0, 255).astype("uint8")
    split = ArraySplit(lambda: (images, labels), labelled)
    splits = {"train": split, "test": split}
    named = ("train", "test") if labelled else (None, None)
    return Source("coloured", (8, 8, 3), 6, None, splits, "train", *named, "none")


@pytest.fixture(scope="module")
def experiment():
    made = Experiment(CONFIG)
    made.evaluation_source = coloured()
    made.recipe = find_recipe("none(crop_area=(0.5, 1.0), flip=0.5)")
    return made


@pytest.fixture
def model():
    x = keras.Input((None, None, 3))
    h = keras.layers.BatchNormalization()(x)
    return types.SimpleNamespace(encoder=keras.Model(x, keras.layers.GlobalAveragePooling2D()(h)))


def test_each_rate_has_its_own_classifier_and_the_encoder_stays(experiment, model):
    before = model.encoder.get_weights()
    metrics = linear_evaluation(experiment, model)
    assert set(metrics) == {f"linear_crops_{rate}_{top}" for rate in ("0.5", "0.001") for top in ("top1", "top5")}
    assert metrics["linear_crops_0.5_top1"] > metrics["linear_crops_0.001_top1"] > 100 / 6 - 1
    assert metrics["linear_crops_0.5_top1"] > 60
    for a, b in zip(before, model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # batch norm in inference mode, too
    assert table(metrics).splitlines()[1].split()[0] == "0.5"


def test_a_rate_trains_as_it_would_alone(experiment, model):
    """Heads side by side share the optimizer, and nothing else."""
    both = linear_evaluation(experiment, model)
    experiment = types.SimpleNamespace(
        config=dataclasses.replace(CONFIG, linear_rates="0.001"), evaluation_source=experiment.evaluation_source,
        recipe=experiment.recipe, labelled_batches=experiment.labelled_batches,
    )
    alone = linear_evaluation(experiment, model)
    assert alone == {name: both[name] for name in alone} and len(alone) == 2


def test_steps_are_capped(experiment, model, monkeypatch):
    monkeypatch.setattr(experiment, "config", dataclasses.replace(CONFIG, steps=1))
    assert linear_evaluation(experiment, model)["linear_crops_0.001_top1"] <= 60


def test_images_without_labels_are_refused(experiment, model, monkeypatch):
    monkeypatch.setattr(experiment, "evaluation_source", coloured(labelled=False))
    with pytest.raises(ValueError, match="mode=linear needs labelled"):
        linear_evaluation(experiment, model)


@pytest.mark.parametrize("rates", ["", "0.1,", "0.1,-1", "a"])
def test_rates_are_positive_numbers(rates):
    with pytest.raises(ValueError, match="linear_rates must be positive numbers"):
        dataclasses.replace(CONFIG, linear_rates=rates)


def test_crops_come_with_their_labels_and_are_new_each_epoch():
    source = coloured()
    batches = labelled_crops(source, "simclr_cifar(mean=(0.0,0.0,0.0), std=(1.0,1.0,1.0))", 120, seed=0).take(2)
    (first, labels), (second, _) = batches.as_numpy_iterator()
    images, own = source.splits["train"].arrays()
    for label in range(6):  # neither jitter nor grey: a crop keeps its colour
        mean = images[own == label].mean(axis=(0, 1, 2)) / 255
        np.testing.assert_allclose(first[labels == label].mean(axis=(0, 1, 2)), mean, atol=0.02)
    assert sorted(labels) == sorted(own) and np.abs(first - second).max() > 0.05


def test_streams_and_files_give_labels_too(tmp_path):
    from tf_directpred.data import SOURCES

    for label in range(2):
        for i in range(3):
            image = tf.fill((16, 16, 3), tf.constant(200 * label, tf.uint8))
            tf.io.write_file(f"{tmp_path}/{label}/{i}.png", tf.io.encode_png(image))
    source = SOURCES.create("folder", data_dir=str(tmp_path))
    images, labels = next(labelled_crops(source, "none", 4, seed=0).as_numpy_iterator())
    np.testing.assert_array_equal(images.mean(axis=(1, 2, 3)) > 0.5, labels == 1)
