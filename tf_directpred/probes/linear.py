"""The linear probe: one linear layer trained on standardised features."""

import numpy as np

from tf_directpred.probes.accuracy import check_features, topk_accuracies


class LinearProbe:
    """Softmax regression by Adam, as the published protocol trains it.

    Features are standardised by the training set's mean and deviation. Per batch, the weight decay being L2
    added to the gradient, on weights and bias alike:

        g = grad mean_b cross_entropy(softmax(x W + b), y) + weight_decay w
        m = 0.9 m + 0.1 g,   v = 0.999 v + 0.001 g^2
        w <- w - learning_rate (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)

    Weights and bias start uniform within +-1 / sqrt(D); the order of examples is drawn anew each epoch and
    the last, smaller batch is kept. The layer of the LAST epoch is the result; nothing is chosen on test
    data.

    Args:
        epochs: passes over the training features.
        batch_size: examples a step.
        learning_rate: Adam's, constant.
        weight_decay: weight of the L2 term.
        seed: of the starting weights and the order of examples.
    """

    def __init__(self, epochs=50, batch_size=128, learning_rate=3e-4, weight_decay=1e-3, seed=0):
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def fit(self, features, labels, classes=None):
        """Trains the layer on (N, D) features and (N,) integer labels in [0, classes)."""
        from sklearn.preprocessing import StandardScaler

        check_features(features, labels)
        labels = np.asarray(labels)
        classes = int(labels.max()) + 1 if classes is None else classes
        self.scaler = StandardScaler().fit(features)
        x = self.scaler.transform(features).astype("float32")
        # A column of ones makes the bias a row of the weights: one parameter array, one Adam update.
        x = np.column_stack([x, np.ones(len(x), "float32")])
        generator = np.random.default_rng(self.seed)
        bound = (x.shape[1] - 1) ** -0.5
        self.weights = generator.uniform(-bound, bound, (x.shape[1], classes)).astype("float32")
        adam = _Adam(self.weights, self.learning_rate)
        for _ in range(self.epochs):
            order = generator.permutation(len(x))
            for start in range(0, len(x), self.batch_size):
                batch = order[start : start + self.batch_size]
                adam.step(self._gradient(x[batch], labels[batch]))
        return self

    def scores(self, features):
        """The (N, classes) logits of (N, D) features."""
        return self.scaler.transform(features).astype("float32") @ self.weights[:-1] + self.weights[-1]

    def predict(self, features):
        """The (N,) labels of (N, D) features."""
        return np.argmax(self.scores(features), axis=1)

    def _gradient(self, x, y):
        error = x @ self.weights
        error -= error.max(axis=1, keepdims=True)
        np.exp(error, out=error)
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(y)), y] -= 1.0
        error /= len(y)
        return x.T @ error + self.weight_decay * self.weights


class _Adam:
    """Adam on one array, in place."""

    def __init__(self, parameters, learning_rate):
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.mean = np.zeros_like(parameters)
        self.square = np.zeros_like(parameters)
        self.steps = 0

    def step(self, gradient):
        self.steps += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient * gradient - self.square)
        root = np.sqrt(self.square / (1.0 - 0.999**self.steps)) + 1e-8
        self.parameters -= self.learning_rate / (1.0 - 0.9**self.steps) * self.mean / root


def linear_probe(
    train_x,
    train_y,
    test_x,
    test_y,
    epochs=50,
    batch_size=128,
    learning_rate=3e-4,
    weight_decay=1e-3,
    seed=0,
):
    """Trains a `LinearProbe` on training features and measures it on test features.

    Args:
        train_x: (N, D) features; train_y: (N,) integer labels from 0.
        test_x: (M, D) features; test_y: (M,) integer labels.
        epochs, batch_size, learning_rate, weight_decay, seed: as `LinearProbe`.

    Returns:
        `{"top1": percent}` after the last epoch, with "top5" where there are more than five classes.
    """
    check_features(test_x, test_y)
    classes = int(max(np.max(train_y), np.max(test_y))) + 1
    probe = LinearProbe(epochs, batch_size, learning_rate, weight_decay, seed)
    probe.fit(train_x, train_y, classes)
    return topk_accuracies(probe.scores(test_x), test_y)
