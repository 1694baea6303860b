"""Two augmented views of every image, as an infinite stream of batches."""

import tensorflow as tf

from tf_directpred.data.augmentation import augment
from tf_directpred.data.recipes import find_recipe


def view_batches(source, recipe, batch_size, seed, start=0, split=None, other_recipe=None):
    """Infinite dataset of two-view batches; the batch at step t is a function of (seed, t) alone.

    Args:
        source: a `Source`.
        recipe: `Recipe` or spec for view1.
        batch_size: images a batch; the rest of an epoch that fills no batch is dropped.
        seed: integer.
        start: step of the first batch.
        split: name of the split to read; default `source.pretrain_split`.
        other_recipe: `Recipe` or spec for view2; default: what `recipe` names as `other_view`, else `recipe`.

    Returns:
        tf.data.Dataset of `{"view1", "view2"}`, float32 `(batch_size, height, width, 3)` each.

    Raises:
        ValueError: `batch_size` exceeds the number of images.
    """
    recipe = find_recipe(recipe)
    recipes = recipe, find_recipe(other_recipe or recipe.other_view or recipe)
    steps_per_epoch(source, batch_size, split)

    def views(t, images):
        return {
            f"view{number}": augment(images, recipe, seed=(seed, 2 * t + number))
            for number, recipe in enumerate(recipes, start=1)
        }

    batches = source.splits[split or source.pretrain_split].training_batches(batch_size, seed, start)
    batches = batches.map(views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(source, batch_size, split=None):
    """Number of full batches in the split that `view_batches` reads.

    Raises:
        ValueError: there is none.
    """
    split = split or source.pretrain_split
    size = source.splits[split].size
    if not 1 <= batch_size <= size:
        raise ValueError(
            f"batch_size must lie in [1, {size}], the number of images in {source.name} {split!r}. "
            f"Received: batch_size={batch_size}"
        )
    return size // batch_size
