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
    return _compiled_views(recipes)(batch, tf.constant(seed, tf.int64), part)


def view_seeds(seed, step, views):
    """The seed of each view of a step, as `augment` takes it."""
    return [(seed, 2 * step + view) for view in range(views)]


@functools.cache
def _compiled_views(recipes):
    """`make_views` by XLA, which fuses what the graph would do in dozens of passes over the batch."""

    @tf.function(jit_compile=True)
    def views(batch, seed, part):
        made = {}
        seeds = view_seeds(seed, batch["step"][0], len(recipes))
        for number, (recipe, view_seed) in enumerate(zip(recipes, seeds), 1):
            if "images" in batch:
                view = augment(batch["images"], recipe, view_seed, part=part)
            else:
                view = augment_crops(batch[f"crop{number}"], recipe, view_seed, part)
            made[f"view{number}"] = view
        return made

    return views
