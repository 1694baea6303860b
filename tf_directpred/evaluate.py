"""Run folder -> features -> probes -> metrics."""

import tensorflow as tf

from tf_directpred.data import unreadable_image
from tf_directpred.probes.features import extract
from tf_directpred.probes.knn import knn
from tf_directpred.probes.linear import linear_probe
from tf_directpred.probes.pixels import grey_pixels, raw_pixels
from tf_directpred.probes.spectrum import effective_rank, feature_std


def evaluate(experiment, model):
    """Measures an encoder by k-NN and linear probe, beside the baselines that it must beat.

    The same probes are run on the features of the trained encoder, of the encoder at its initialisation, and
    on raw pixels (images above 32x32 are first reduced to that); k-NN also on grey pixels.

    Args:
        experiment: an `Experiment`; its flags say which images, how many and how long.
        model: the trained `NonContrastive`.

    Returns:
        dict of numbers, accuracies in percent: `knn_top1`, `linear_top1` and the same with the prefixes
        `init_` and `pixel_`; `grey_knn_top1`; `knn_top5`, `linear_top5` and so on where there are more than 5
        classes; `feature_std`, `effective_rank` (of the test images); `eval_train_examples`,
        `eval_test_examples`. None where there are no labels to evaluate with.

    Raises:
        ValueError: an image cannot be read, with its name.
    """
    source = experiment.evaluation_source
    if source.train_split is None or source.test_split is None:
        return None
    splits = source.train_split, source.test_split

    def features(encoder, normalized=True):
        batches = experiment.labelled_batches if normalized else experiment.labelled_images
        try:
            return [array for split in splits for array in extract(encoder, batches(split))]
        except tf.errors.OpError as error:
            if image := unreadable_image(error):
                raise ValueError(image) from error
            raise

    epochs, seed = experiment.config.probe_epochs, experiment.config.seed
    trained = features(model.encoder)
    train_x, _, test_x, _ = trained
    metrics = {
        "eval_train_examples": len(train_x),
        "eval_test_examples": len(test_x),
        "feature_std": feature_std(test_x),
        "effective_rank": effective_rank(test_x),
    }
    pixels = features(raw_pixels, normalized=False)
    initial = features(experiment.model().encoder)
    for prefix, arrays in (("", trained), ("init_", initial), ("pixel_", pixels)):
        metrics |= {f"{prefix}knn_{k}": v for k, v in knn(*arrays).items()}
        metrics |= {f"{prefix}linear_{k}": v for k, v in linear_probe(*arrays, epochs=epochs, seed=seed).items()}
    metrics |= {f"grey_knn_{k}": v for k, v in knn(*features(grey_pixels, normalized=False)).items()}
    return metrics


ROWS = (
    ("trained encoder", ""),
    ("encoder at initialisation", "init_"),
    ("raw pixels", "pixel_"),
    ("grey pixels, image mean taken off", "grey_"),
)


def table(metrics):
    """The metrics as a small text table."""
    lines = [f"{'top-1 accuracy, %':36}{'k-NN':>8}{'linear':>8}"]
    for name, prefix in ROWS:
        cells = [metrics.get(f"{prefix}{probe}_top1") for probe in ("knn", "linear")]
        lines.append(f"{name:36}" + "".join(f"{'-' if cell is None else format(cell, '.1f'):>8}" for cell in cells))
    lines.append(
        f"{metrics['eval_train_examples']:,} train and {metrics['eval_test_examples']:,} test images; "
        f"feature std {metrics['feature_std']:.4f}, effective rank {metrics['effective_rank']:.1f}"
    )
    return "\n".join(lines)
