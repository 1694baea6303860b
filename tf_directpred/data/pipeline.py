"""Training batches as infinite streams: two augmented views of every image, or the images to make them of."""

import dataclasses
import functools

import tensorflow as tf

from tf_directpred.data.augmentation import view_size
from tf_directpred.data.encoded import crop_views
from tf_directpred.data.recipes import find_recipe
from tf_directpred.data.views import make_views, pair_of_recipes, view_seeds


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
    recipes = pair_of_recipes(recipe, other_recipe)
    make = functools.partial(make_views, recipes=recipes, seed=seed, part=part)
    batches = _image_batches(source, recipes, batch_size, seed, start, split, part)
    return batches.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def image_batches(source, recipe, batch_size, seed, start=0, split=None, other_recipe=None, part=(0, 1)):
    """The batches of `view_batches` with what `TwoViews` does to them in the step left undone.

    Args:
        source, recipe, batch_size, seed, start, split, other_recipe, part: as `view_batches`.

    Returns:
        tf.data.Dataset of `{"images", "step"}`: uint8 `(batch_size, height, width, 3)` and, to seed the views, the
        step, int64 `(batch_size,)`. Of encoded images, whose sizes may differ, `{"crop1", "crop2", "step"}`.
    """
    recipes = pair_of_recipes(recipe, other_recipe)
    return _image_batches(source, recipes, batch_size, seed, start, split, part).prefetch(tf.data.AUTOTUNE)


def _image_batches(source, recipes, batch_size, seed, start, split, part):
    steps_per_epoch(source, batch_size, split)
    index, count = part
    if batch_size % count:
        raise ValueError(f"batch_size must be a multiple of {count}, the workers. Received: batch_size={batch_size}")
    own = slice(index * batch_size // count, (index + 1) * batch_size // count)
    split = source.splits[split or source.pretrain_split]
    batches = split.training_batches(batch_size, seed, start).map(lambda t, examples: (t, examples[own]))
    to_images = _image_maker(source, split, recipes, batch_size // count, seed, part)
    return batches.map(to_images, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


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
    to_images = _image_maker(source, split, (recipe,), batch_size, seed, part=(0, 1))

    def crops(t, pair):
        return make_views(to_images(t, pair[0]), (recipe,), seed)["view1"], pair[1]

    batches = split.training_batches(batch_size, seed, labels=True)
    return batches.map(crops, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _image_maker(source, split, recipes, size, seed, part):
    """Function of (t, examples of `size` images) -> a batch as `make_views` takes it."""
    sides = view_size(recipes[0], source.image_shape)

    @tf.autograph.experimental.do_not_convert  # tracing takes a third of the time
    def to_images(t, examples):
        step = tf.fill([size], t)
        if examples.dtype != tf.string:
            return {"images": tf.ensure_shape(examples, (size, None, None, 3)), "step": step}
        items = tf.ensure_shape(examples, (size,))
        crops = crop_views(items, split.read, recipes, view_seeds(seed, t, len(recipes)), sides, part)
        return {**{f"crop{number}": crop for number, crop in enumerate(crops, 1)}, "step": step}

    return to_images


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
