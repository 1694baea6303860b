"""Top-1 and top-5 accuracy, and what features must look like to be judged."""

import numpy as np


def check_features(features, labels):
    """Refuses features and labels that no probe can judge.

    Raises:
        ValueError: not (N, D) and (N,) with N > 0, labels not integers from 0, or numbers not finite.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(
            "features and labels must be (N, D) and (N,), N > 0. "
            f"Received: shapes {features.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"labels must be integers from 0. Received: {labels.dtype}, smallest {labels.min()}")
    broken = int(np.sum(~np.isfinite(features).all(axis=1)))
    if broken:
        raise ValueError(f"features must be finite. Received: {broken} of {len(features)} rows that are not")


def topk_accuracies(scores, labels):
    """Percent of examples whose label has the highest score, or one of the five highest.

    Of classes with equal scores the lower one counts as higher.

    Args:
        scores: (N, C), higher is likelier.
        labels: (N,) integers in [0, C).

    Returns:
        `{"top1": percent}`, with "top5" where C > 5.
    """
    labels = np.asarray(labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    accuracies = {"top1": 100.0 * float(np.mean(rank < 1))}
    if scores.shape[1] > 5:
        accuracies["top5"] = 100.0 * float(np.mean(rank < 5))
    return accuracies
