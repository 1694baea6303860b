"""Two augmented views of every image, as an infinite stream of batches."""

import tensorflow as tf

from tf_directpred.data.augmentation import apply_colour, augment, sample_parameters, to_planar, view_size
from tf_directpred.data.encoded import crop_views
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
    steps_per_epoch(source, batch_size, split)
    recipe = find_recipe(recipe)
    recipes = recipe, find_recipe(other_recipe or recipe.other_view or recipe)
    split = source.splits[split or source.pretrain_split]
    batches = split.training_batches(batch_size, seed, start)
    if batches.element_spec[1].dtype == tf.string:
        make = _views_of_encoded(split.read, recipes, source.image_shape, batch_size, seed)
    else:
        make = _views_of_images(recipes, seed)
    batches = batches.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
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


def _view_seeds(seed, t):
    """A seed for each view of step t; no two steps or views share one."""
    return [(seed, 2 * t + view) for view in range(2)]


def _views_of_images(recipes, seed):
    # XLA fuses what the graph would do in dozens of passes over the batch.
    @tf.function(jit_compile=True)
    def views(images, seeds):
        return {f"view{n + 1}": augment(images, recipe, seeds[n]) for n, recipe in enumerate(recipes)}

    return lambda t, images: views(images, _view_seeds(seed, t))


def _views_of_encoded(read, recipes, image_shape, batch_size, seed):
    size = view_size(recipes[0], image_shape)

    @tf.function(jit_compile=True)
    def finish(crops, parameters):
        return {
            f"view{n + 1}": apply_colour(to_planar(crops[n], parameters[n]["flip"]), parameters[n], recipe)
            for n, recipe in enumerate(recipes)
        }

    def views(t, items):
        items = tf.ensure_shape(items, (batch_size,))
        parameters = [sample_parameters(r, s, batch_size) for r, s in zip(recipes, _view_seeds(seed, t))]
        return finish(crop_views(items, read, recipes, parameters, size), parameters)

    return views
