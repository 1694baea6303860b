"""Two augmented views of every image, as an infinite stream of batches."""

import dataclasses
import functools

import tensorflow as tf

from tf_directpred.data.augmentation import apply_colour, augment, sample_parameters, to_planar, view_size
from tf_directpred.data.encoded import crop_views
from tf_directpred.data.recipes import find_recipe


def view_batches(source, recipe, batch_size, seed, start=0, split=None, other_recipe=None, part=(0, 1)):
    """Infinite dataset of two-view batches; the batch at step t is a function of (seed, t) alone.

    Args:
        source: a `Source`.
        recipe: `Recipe` or spec for view1.
        batch_size: images a batch; the rest of an epoch that fills no batch is dropped.
        seed: integer.
        start: step of the first batch.
        split: name of the split to read; default `source.pretrain_split`.
        other_recipe: `Recipe` or spec for view2; default: what `recipe` names as `other_view`, else `recipe`.
        part: `(index, count)`: of `count` equal parts of every batch, make only this one. The parts of `count`
            workers are, in order, the rows of the batch that one worker would make. (Streamed records are read
            by every worker, but decoded by one.)

    Returns:
        tf.data.Dataset of `{"view1", "view2"}`, float32 `(batch_size, height, width, 3)` each.

    Raises:
        ValueError: `batch_size` exceeds the number of images, or is no multiple of the parts.
    """
    steps_per_epoch(source, batch_size, split)
    index, count = part
    if batch_size % count:
        raise ValueError(f"batch_size must be a multiple of {count}, the workers. Received: batch_size={batch_size}")
    own = slice(index * batch_size // count, (index + 1) * batch_size // count)
    recipe = find_recipe(recipe)
    recipes = recipe, find_recipe(other_recipe or recipe.other_view or recipe)
    split = source.splits[split or source.pretrain_split]
    batches = split.training_batches(batch_size, seed, start).map(lambda t, examples: (t, examples[own]))
    views = _view_maker(source, split, recipes, batch_size // count, seed, part)
    return batches.map(views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def labelled_crops(source, recipe, batch_size, seed):
    """Infinite dataset of training images for a classifier: of one view, what a recipe crops and flips, and labels.

    Args:
        source: a `Source` with labels, of which `train_split` is read.
        recipe: `Recipe` or spec, of which only crop, flip and normalisation are applied.
        batch_size, seed: as `view_batches`.

    Returns:
        tf.data.Dataset of float32 `(batch_size, height, width, 3)` and int64 `(batch_size,)`.
    """
    recipe = dataclasses.replace(find_recipe(recipe), jitter_probability=0.0, grey=0.0, blur=0.0, solarize=0.0)
    split = source.splits[source.train_split]
    views = _view_maker(source, split, (recipe,), batch_size, seed, part=(0, 1))
    batches = split.training_batches(batch_size, seed, labels=True)
    batches = batches.map(
        lambda t, pair: (views(t, pair[0])["view1"], pair[1]), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return batches.prefetch(tf.data.AUTOTUNE)


def _view_maker(source, split, recipes, size, seed, part):
    """Function of (t, examples of `size` images) -> their views, a dict."""
    sides = view_size(recipes[0], source.image_shape)
    finish = _compiled_views(recipes, sides, part)

    def views(t, examples):
        seeds = [(seed, 2 * t + view) for view in range(len(recipes))]
        if examples.dtype != tf.string:
            return finish(examples, seeds)
        items = tf.ensure_shape(examples, (size,))
        return finish(crop_views(items, split.read, recipes, seeds, sides, part), seeds)

    return views


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


@functools.cache
def _compiled_views(recipes, size, part):
    """Function of a batch and of a seed for each view that makes the views.

    The batch is one of images, uint8 `(batch, height, width, 3)`, or a pair of batches of crops, one for
    each view. XLA fuses what the graph would do in dozens of passes over the batch.
    """

    @tf.function(jit_compile=True)
    def views(batch, seeds):
        made = {}
        for number, recipe in enumerate(recipes):
            if isinstance(batch, tuple):
                parameters = sample_parameters(recipe, seeds[number], batch[number].shape[0], part)
                planar = to_planar(batch[number], parameters["flip"])
                view = apply_colour(planar, parameters, recipe)
            else:
                view = augment(batch, recipe, seeds[number], size, part)
            made[f"view{number + 1}"] = view
        return made

    return views
