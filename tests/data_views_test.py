"""Views that a layer makes in the step are the views that the pipeline makes ahead."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.data import RECIPES, SOURCES, Recipe, TwoViews, augment, find_recipe, image_batches, view_batches
from tf_directpred.data import views
from tf_directpred.data.recipes import recipe_spec
from tf_directpred.data.views import make_views

RECIPE = "none(crop_area=(0.2, 1.0), flip=0.5, grey=0.5)"  # few operations to compile


def batches(make, source, steps=2, part=(0, 1)):
    options = {"seed": 5, "start": 3, "other_recipe": "none(solarize=0.5)", "part": part}
    return list(make(source, RECIPE, 6, **options).take(steps))


@pytest.mark.parametrize("kind", ["digits(clutter=False)", "photos"])
def test_made_in_the_step_or_ahead_views_are_the_same(kind, photos, monkeypatch):
    source = SOURCES.create(photos if kind == "photos" else kind)
    layer = TwoViews(RECIPE, "none(solarize=0.5)", seed=5)
    ahead = batches(view_batches, source)
    for images, views in zip(batches(image_batches, source), ahead):
        assert all(x.dtype == tf.uint8 for name, x in images.items() if name != "step")
        for name, view in layer(images).items():
            np.testing.assert_array_equal(view, views[name])
    # Of two replicas the second makes the second half, which seeds alone would not tell it to.
    second = types.SimpleNamespace(replica_id_in_sync_group=tf.constant(1), num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: second)
    half = layer(batches(image_batches, source, 1, part=(1, 2))[0])
    for name, view in half.items():
        np.testing.assert_allclose(view, ahead[0][name][3:], atol=1e-6)


def test_views_are_a_function_of_the_seed_and_the_step():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    layer = TwoViews(RECIPE, "none(solarize=0.5)", seed=5)
    for step in (0, 7):
        made = layer({"images": tf.constant(images), "step": tf.fill([6], tf.constant(step, tf.int64))})
        for number, view in enumerate(("view1", "view2")):
            wanted = augment(images, layer.recipes[number], (5, 2 * step + number))
            np.testing.assert_allclose(made[view], wanted, atol=1e-6)


def test_two_views_of_one_recipe_are_traced_once():
    recipe = Recipe(crop_area=None, flip=0.5, jitter_probability=0.0, grey=0.25)
    images = tf.zeros((4, 8, 8, 3), tf.uint8)

    @tf.function
    def both(step):
        return make_views({"images": images, "step": tf.fill([4], step)}, (recipe, recipe), seed=0)

    for step in (0, 1):
        both(tf.constant(step, tf.int64))
    assert views._compiled(augment, recipe).experimental_get_tracing_count() == 1


def test_the_layer_is_saved_with_its_recipes():
    layer = TwoViews(Recipe(size=20, mean=(0.1, 0.2, 0.3)), seed=2**31)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert (again.recipes, again.seed) == (layer.recipes, layer.seed) and not again.variables
    assert TwoViews("byol_imagenet_T").recipes[1] == RECIPES["byol_imagenet_T_prime"]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_has_a_spec(name):
    assert find_recipe(recipe_spec(RECIPES[name])) == RECIPES[name]
