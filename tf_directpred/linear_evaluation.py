"""Linear evaluation as published on ImageNet: a new crop of every image at every step, the encoder frozen.

`evaluate`'s linear probe is another, faster number: it trains on features of one centre crop an image, computed
once.
"""

import math

import keras
import tensorflow as tf

from tf_directpred.data import labelled_crops
from tf_directpred.probes.accuracy import topk_accuracies

BATCH = 1024


def linear_evaluation(experiment, model):
    """Trains linear classifiers on crops and flips of the labelled images; measures them on centre crops.

    SGD with Nesterov momentum 0.9, cosine from `rate * batch / 256` to 0, no decay, no warm-up, batch 1024 (all
    images where there are fewer). All of `linear_rates` are trained side by side, on the same frozen features.
    The accuracy after the last epoch is reported for each: to choose a rate without test images, name held-out
    training images as `eval_dataset`'s test split, then run once more with that rate.

    Args:
        experiment: an `Experiment`; `probe_epochs`, `steps` and `eval_examples` (test images) bound the work.
        model: the trained `NonContrastive`.

    Returns:
        dict: for each rate `linear_crops_{rate}_top1` (percent), with `_top5` where there are more than 5 classes.

    Raises:
        ValueError: the images have no labels.

    Reference: Grill et al. 2020, appendix (linear evaluation protocol); Kolesnikov, Zhai, Beyer 2019.
    """
    config, source = experiment.config, experiment.evaluation_source
    if source.train_split is None or source.test_split is None:
        raise ValueError(f"mode=linear needs labelled train and test images. Received: {source.name}, without labels")
    size = source.splits[source.train_split].size
    batch = min(BATCH, size)
    steps = min(config.probe_epochs * (size // batch), config.steps or math.inf)
    rates = config.rates()
    heads = keras.layers.Dense(len(rates) * source.num_classes, kernel_initializer="zeros", dtype="float32")
    heads.build((None, model.encoder.output_shape[-1]))
    schedule = keras.optimizers.schedules.CosineDecay(batch / 256, steps)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    optimizer.build(heads.trainable_variables)

    @tf.function(reduce_retracing=True)
    def logits(images):
        representations = tf.cast(model.encoder(images, training=False), "float32")
        return tf.reshape(heads(representations), (-1, len(rates), source.num_classes))

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            scores = logits(images)
            labels = tf.tile(labels[:, None], (1, len(rates)))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            # The step is linear in rate times gradient: each head gets its own rate this way.
            loss = tf.reduce_sum(tf.reduce_mean(losses, axis=0) * rates)
        weights = heads.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    for images, labels in labelled_crops(source, experiment.recipe, batch, config.seed).take(steps):
        step(images, labels)
    scores, labels = zip(*((logits(x), y) for x, y in experiment.labelled_batches(source.test_split)))
    scores, labels = tf.concat(scores, axis=0).numpy(), tf.concat(labels, axis=0).numpy()
    return {
        f"linear_crops_{rate:g}_{name}": accuracy
        for i, rate in enumerate(rates)
        for name, accuracy in topk_accuracies(scores[:, i], labels).items()
    }


def table(metrics):
    """The accuracies as a small text table."""
    rows = [f"{'rate x batch / 256':24}{'top-1, %':>10}"]
    for name, accuracy in metrics.items():
        rate = name.removeprefix("linear_crops_").removesuffix("_top1")
        rows += [f"{rate:24}{accuracy:>10.1f}"] if name.endswith("_top1") else []
    return "\n".join(rows)
