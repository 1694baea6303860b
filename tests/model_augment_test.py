"""A model that makes its own views inside the step trains as one that is given them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import GRAPH, SHAPE, built, state

from tf_directpred.data import TwoViews
from tf_directpred.data.views import make_views

RECIPE = "none(flip=0.5, jitter=(0.4, 0.0, 0.0, 0.0), jitter_probability=0.8)"


def images(step, n=8):
    pixels = np.random.default_rng(step).integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    return {"images": tf.constant(pixels), "step": tf.fill([n], tf.constant(step, tf.int64))}


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"compiled": GRAPH}, {"compiled": {"jit_compile": True}}])
def test_it_trains_as_on_views_made_ahead(options):
    layer = TwoViews(RECIPE, seed=3)
    given, making = built(**options), built(augment=layer, **options)
    for step in range(2):
        given.train_on_batch(make_views(images(step), layer.recipes, 3))
        making.train_on_batch(images(step))
    for (key, found), wanted in zip(state(making).items(), state(given).values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=key)
    assert np.abs(np.array(making.online.variables[0]) - np.array(built().online.variables[0])).max() > 1e-3


def test_only_training_and_its_evaluation_make_views():
    plain, making = built(), built(augment=TwoViews(RECIPE))
    assert len(state(making)) == len(state(plain))  # no variable of its own: nothing to save, nothing to resume
    pixels = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    np.testing.assert_array_equal(making.predict(pixels, verbose=0), plain.predict(pixels, verbose=0))
    assert np.isfinite(making.test_on_batch(images(0)))


def test_it_is_saved_and_loaded(tmp_path):
    making = built(augment=TwoViews(RECIPE, seed=7))
    making.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.augment.recipes, loaded.augment.seed) == (making.augment.recipes, 7)
    np.testing.assert_allclose(loaded.train_on_batch(images(1)), making.train_on_batch(images(1)), rtol=1e-5)
