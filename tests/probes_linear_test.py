"""The linear probe against its protocol, written out slowly, and against another classifier."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tf_directpred.probes.accuracy import topk_accuracies
from tf_directpred.probes.linear import LinearProbe, linear_probe


def _clusters(n, classes, dimensions, seed, spread=1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dimensions))
    labels = rng.integers(0, classes, n)
    features = 5.0 + 3.0 * (centres[labels] + spread * rng.normal(size=(n, dimensions)))
    return features.astype("float32"), labels


def _protocol(x, y, classes, epochs, batch_size, learning_rate, weight_decay, seed):
    """Weights and bias after the published protocol, in float64, an example at a time."""
    x = (x.astype("float64") - x.mean(0, dtype="float64")) / x.std(0, dtype="float64")
    rng = np.random.default_rng(seed)
    d = x.shape[1]
    start = rng.uniform(-(d**-0.5), d**-0.5, (d + 1, classes))
    state = [[start[:d].copy(), np.zeros((d, classes)), np.zeros((d, classes))]]
    state.append([start[d].copy(), np.zeros(classes), np.zeros(classes)])
    t = 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch_size):
            rows = order[first : first + batch_size]
            gradients = [np.zeros((d, classes)), np.zeros(classes)]
            for i in rows:
                logits = x[i] @ state[0][0] + state[1][0]
                p = np.exp(logits) / np.exp(logits).sum()
                p[y[i]] -= 1.0
                gradients[0] += np.outer(x[i], p) / len(rows)
                gradients[1] += p / len(rows)
            t += 1
            for parameter, gradient in zip(state, gradients):
                g = gradient + weight_decay * parameter[0]
                parameter[1] = 0.9 * parameter[1] + 0.1 * g
                parameter[2] = 0.999 * parameter[2] + 0.001 * g**2
                corrected = parameter[1] / (1 - 0.9**t), parameter[2] / (1 - 0.999**t)
                parameter[0] = parameter[0] - learning_rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    return state[0][0], state[1][0]


def test_follows_the_protocol_step_by_step():
    x, y = _clusters(150, 4, 6, seed=0)
    settings = {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.1, "seed": 5}
    probe = LinearProbe(**settings).fit(x, y)
    kernel, bias = _protocol(x, y, 4, **settings)
    np.testing.assert_allclose(probe.weights[:-1], kernel, atol=2e-5)
    np.testing.assert_allclose(probe.weights[-1], bias, atol=2e-5)
    z = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(probe.scores(x), z @ kernel + bias, atol=2e-4)


def test_protocol_defaults():
    probe = LinearProbe()
    found = (probe.epochs, probe.batch_size, probe.learning_rate, probe.weight_decay)
    assert found == (50, 128, 3e-4, 1e-3)


def test_agrees_with_logistic_regression_on_separable_clusters():
    train_x, train_y = _clusters(2000, 8, 32, seed=0)
    test_x, test_y = _clusters(1000, 8, 32, seed=1)
    reference = LogisticRegression(max_iter=200).fit(train_x, train_y).score(test_x, test_y)
    found = linear_probe(train_x, train_y, test_x, test_y)
    assert found["top1"] > 97.0 and found["top1"] == pytest.approx(100.0 * reference, abs=2.0)
    assert found["top5"] >= found["top1"]


def test_random_labels_are_not_learned_from_random_features():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 16)).astype("float32"), rng.integers(0, 10, 2000)
    assert linear_probe(x[:1000], y[:1000], x[1000:], y[1000:])["top1"] < 15.0


def test_scale_shift_and_constant_features_change_nothing():
    train_x, train_y = _clusters(300, 3, 6, seed=0)
    test_x, test_y = _clusters(100, 3, 6, seed=1)
    scales = 10.0 ** np.arange(-3, 3)
    shifted = [(x.astype("float64") * scales + 4.0 * scales).astype("float32") for x in (train_x, test_x)]
    probes = LinearProbe(epochs=5).fit(train_x, train_y), LinearProbe(epochs=5).fit(shifted[0], train_y)
    np.testing.assert_allclose(probes[0].scores(test_x), probes[1].scores(shifted[1]), atol=1e-3)
    constant = np.full((300, 1), 7.0, "float32")
    scores = LinearProbe(epochs=5).fit(np.hstack([train_x, constant]), train_y).scores(
        np.hstack([test_x, constant[:100]])
    )
    assert np.all(np.isfinite(scores))


def test_the_seed_decides_the_result():
    x, y = _clusters(200, 3, 6, seed=0)
    first, again, other = (LinearProbe(epochs=2, seed=seed).fit(x, y).weights for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_predict_is_the_highest_score_and_a_class_absent_from_training_is_trained_away():
    x, y = _clusters(200, 3, 6, seed=0)
    probe = LinearProbe(epochs=10).fit(x, y)
    np.testing.assert_array_equal(probe.predict(x), probe.scores(x).argmax(1))
    assert linear_probe(x, y, x, np.full(200, 3), learning_rate=0.01)["top1"] == 0.0


def test_topk_accuracies_on_a_known_ranking():
    scores = np.array([[7, 6, 5, 4, 3, 2], [7, 6, 5, 4, 3, 2], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 9]])
    assert topk_accuracies(scores, [0, 5, 5, 5]) == {"top1": 50.0, "top5": 50.0}
    assert topk_accuracies(scores, [1, 4, 0, 0]) == {"top1": 25.0, "top5": 100.0}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x[:, 0], y), "features and labels must be"),
        (lambda x, y: (x, y[:-1]), "features and labels must be"),
        (lambda x, y: (x[:0], y[:0]), "features and labels must be"),
        (lambda x, y: (x, y - 1), "labels must be integers from 0"),
        (lambda x, y: (x, y + 0.5), "labels must be integers from 0"),
        (lambda x, y: (np.where(x == x[0], np.nan, x), y), "features must be finite. Received: 1 of 50 rows"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, message):
    x, y = _clusters(50, 3, 6, seed=0)
    y[:3] = 0, 1, 2
    with pytest.raises(ValueError, match=f"^{message}"):
        LinearProbe(epochs=1).fit(*change(x, y))
    with pytest.raises(ValueError, match=f"^{message}"):
        linear_probe(x, y, *change(x, y), epochs=1)
