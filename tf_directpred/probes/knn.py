"""Weighted k-nearest-neighbour classification by cosine similarity."""

import numpy as np
import tensorflow as tf

from tf_directpred.probes.accuracy import check_features, topk_accuracies

TEMPERATURE = 0.1


def default_k(examples):
    """200 neighbours from 10,000 training examples on, else 20, and never more than there are."""
    return min(200 if examples >= 10_000 else 20, examples)


def knn_scores(train_x, train_y, test_x, classes, k, batch_size=256):
    """Sums the votes of each test example's k nearest training examples.

        score[c] = sum over the k nearest i of exp(cos(x, x_i) / 0.1) [y_i = c]

    Of equally near training examples the earlier ones count.

    Args:
        train_x: (N, D) features; train_y: (N,) integers in [0, classes).
        test_x: (M, D) features.
        classes: number of classes.
        k: neighbours, in [1, N].
        batch_size: test examples compared at a time: bounds memory to batch_size x N floats.

    Returns:
        (M, classes) scores, scaled alike for every class of one example.
    """
    train_y = np.asarray(train_y)
    bank = tf.constant(_unit_rows(train_x))
    queries = _unit_rows(test_x)

    @tf.function(reduce_retracing=True)
    def nearest(batch):
        return tf.math.top_k(tf.matmul(batch, bank, transpose_b=True), k)

    scores = np.empty((len(queries), classes))
    for start in range(0, len(queries), batch_size):
        batch = tf.constant(queries[start : start + batch_size])
        similarity, neighbours = (t.numpy() for t in nearest(batch))
        weights = np.exp((similarity.astype("float64") - 1.0) / TEMPERATURE)
        rows = np.arange(len(similarity))[:, None]
        cells = (rows * classes + train_y[neighbours]).ravel()
        votes = np.bincount(cells, weights.ravel(), minlength=len(similarity) * classes)
        scores[start : start + batch_size] = votes.reshape(-1, classes)
    return scores


def knn(train_x, train_y, test_x, test_y, k=None):
    """Classifies test features by their nearest training features.

    Args:
        train_x: (N, D) features; train_y: (N,) integer labels from 0.
        test_x: (M, D) features; test_y: (M,) integer labels.
        k: neighbours; None for `default_k(N)`.

    Returns:
        `{"top1": percent}`, with "top5" where there are more than five classes.

    Reference:
        Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018, 3.4.
    """
    check_features(train_x, train_y)
    check_features(test_x, test_y)
    k = default_k(len(train_x)) if k is None else k
    if not 1 <= k <= len(train_x):
        raise ValueError(f"k must lie in [1, {len(train_x)}], the training examples. Received: k={k}")
    classes = int(max(np.max(train_y), np.max(test_y))) + 1
    return topk_accuracies(knn_scores(train_x, train_y, test_x, classes, k), test_y)


def _unit_rows(features):
    features = np.asarray(features, "float32")
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
