"""The k-NN probe against brute force."""

import numpy as np
import pytest

from tf_directpred.probes.knn import default_k, knn, knn_scores


def _brute_force(train_x, train_y, test_x, classes, k):
    scores = np.zeros((len(test_x), classes))
    for row, x in enumerate(test_x.astype("float64")):
        norms = np.linalg.norm(train_x.astype("float64"), axis=1) * np.linalg.norm(x)
        cosine = train_x.astype("float64") @ x / norms
        for i in np.argsort(-cosine, kind="stable")[:k]:
            scores[row, train_y[i]] += np.exp((cosine[i] - 1.0) / 0.1)
    return scores


def _clusters(n, classes, dimensions, seed, spread=1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dimensions))
    labels = rng.integers(0, classes, n)
    return (centres[labels] + spread * rng.normal(size=(n, dimensions))).astype("float32"), labels


@pytest.mark.parametrize("k", [1, 7, 300])
@pytest.mark.parametrize("batch_size", [16, 256])
def test_scores_equal_brute_force(k, batch_size):
    train_x, train_y = _clusters(300, 7, 5, seed=0)
    test_x, _ = _clusters(50, 7, 5, seed=1)
    found = knn_scores(train_x, train_y, test_x, 7, k, batch_size)
    np.testing.assert_allclose(found, _brute_force(train_x, train_y, test_x, 7, k), rtol=1e-4, atol=1e-9)


def test_accuracies_equal_brute_force():
    train_x, train_y = _clusters(300, 7, 5, seed=0)
    test_x, test_y = _clusters(200, 7, 5, seed=1)
    scores = _brute_force(train_x, train_y, test_x, 7, 20)
    order = np.argsort(-scores, axis=1, kind="stable")
    found = knn(train_x, train_y, test_x, test_y)
    assert found["top1"] == 100.0 * np.mean(order[:, 0] == test_y)
    assert found["top5"] == 100.0 * np.mean(np.any(order[:, :5] == test_y[:, None], axis=1))
    assert 50.0 < found["top1"] < found["top5"] < 100.0


def test_of_equally_near_examples_the_earlier_count_and_of_equal_classes_the_lower():
    axes = np.eye(4, dtype="float32")
    train_x = axes[[0, 1, 0, 0, 2]] * np.array([[1.0], [2.0], [3.0], [4.0], [5.0]], "float32")
    train_y = np.array([3, 0, 1, 2, 0])
    near = np.exp(0.0)
    scores = knn_scores(train_x, train_y, 7.0 * axes[:1], 4, k=2)
    np.testing.assert_allclose(scores, [[0.0, near, 0.0, near]])
    assert knn(train_x, train_y, axes[:1], np.array([1]), k=2) == {"top1": 100.0}
    assert knn(train_x, train_y, axes[:1], np.array([3]), k=2) == {"top1": 0.0}


def test_top5_only_where_there_are_more_than_five_classes():
    for classes, keys in ((5, {"top1"}), (6, {"top1", "top5"})):
        x, y = _clusters(60, classes, 4, seed=0)
        y[:classes] = np.arange(classes)
        assert set(knn(x, y, x, y)) == keys


def test_a_vector_of_zeros_is_near_to_nothing_and_gives_no_nan():
    x, y = _clusters(30, 3, 4, seed=0)
    scores = knn_scores(x, y, np.zeros((1, 4), "float32"), 3, 5)
    assert np.all(np.isfinite(scores)) and scores.sum() == pytest.approx(5 * np.exp(-10.0))


def test_default_k():
    assert [default_k(n) for n in (3, 20, 1400, 9_999, 10_000, 50_000)] == [3, 20, 20, 20, 200, 200]


@pytest.mark.parametrize("k", [0, 31])
def test_impossible_k_is_named(k):
    x, y = _clusters(30, 3, 4, seed=0)
    with pytest.raises(ValueError, match=rf"^k must lie in \[1, 30\], .* Received: k={k}$"):
        knn(x, y, x, y, k=k)
