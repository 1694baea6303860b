"""Two views of every image of a batch: made ahead in tf.data, or by a layer inside the training step."""

import functools

import keras
import tensorflow as tf

from tf_directpred.data.augmentation import augment, augment_crops
from tf_directpred.data.recipes import find_recipe, recipe_spec


@keras.saving.register_keras_serializable("tf_directpred")
class TwoViews(keras.layers.Layer):
    """Makes the two views of a batch inside the step, as `NonContrastive(augment=...)`.

        view_k of image i at step t = augment(image_i, recipe_k, (seed, 2 t + k - 1)),    k = 1, 2

    These are the views that `view_batches` makes ahead from the same seed. A replica of a distribution strategy
    takes its part of the global batch to be the rows that its place among the replicas says.

    Args:
        recipe: `Recipe` or spec of view1.
        other_recipe: of view2; default: what `recipe` names as `other_view`, else `recipe`.
        seed: integer.

    Call arguments:
        batch: of `image_batches`: `{"images", "step"}` or `{"crop1", "crop2", "step"}`.

    Returns:
        `{"view1", "view2"}`, float32 `(batch, height, width, 3)` each.
    """

    def __init__(self, recipe, other_recipe=None, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.recipes, self.seed = pair_of_recipes(recipe, other_recipe), seed

    def call(self, batch):
        context = tf.distribute.get_replica_context()
        part = tf.cast(context.replica_id_in_sync_group, tf.int32), context.num_replicas_in_sync
        return make_views(batch, self.recipes, self.seed, part)

    def get_config(self):
        recipe, other_recipe = map(recipe_spec, self.recipes)
        return {**super().get_config(), "recipe": recipe, "other_recipe": other_recipe, "seed": self.seed}


def pair_of_recipes(recipe, other_recipe=None):
    """The `Recipe`s of view1 and of view2: `other_recipe`, or what `recipe` names, or `recipe` again."""
    recipe = find_recipe(recipe)
    return recipe, find_recipe(other_recipe or recipe.other_view or recipe)


@tf.autograph.experimental.do_not_convert  # tracing takes a third of the time
def make_views(batch, recipes, seed, part=(0, 1)):
    """The views of a batch of images, or what is left to do for views that were cropped when decoded.

    Args:
        batch: `{"images", "step"}`, or `{"crop1", ..., "step"}` with a crop for each view: images are uint8
            `(batch, height, width, 3)`, the step, int64 `(batch,)`, is the same for all.
        recipes: tuple of `Recipe`s, one for each view.
        seed: integer.
        part: `(index, count)`: of a larger batch, as `augment` takes it.

    Returns:
        `{"view1", ...}`, float32 `(batch, height, width, 3)`.
    """
    views = {}
    for number, (recipe, view_seed) in enumerate(zip(recipes, view_seeds(seed, batch["step"][0], len(recipes))), 1):
        make, images = (augment, "images") if "images" in batch else (augment_crops, f"crop{number}")
        views[f"view{number}"] = _compiled(make, recipe)(batch[images], tf.stack(view_seed), part)
    return views


def view_seeds(seed, step, views):
    """The seed of each view of a step, as `augment` takes it."""
    return [(seed, 2 * step + view) for view in range(views)]


@functools.cache
def _compiled(make, recipe):
    """`augment` or `augment_crops` by XLA: the graph would pass dozens of times over the batch.

    Of one view, so that two of the same recipe are compiled once, and made at the same time.
    """

    def view(images, seed, part):
        return make(images, recipe, seed, part=part)

    return tf.function(view, autograph=False, jit_compile=True)
