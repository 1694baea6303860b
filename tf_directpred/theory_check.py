"""Linear networks trained by the library's own step, as arrays beside the theory's flows.

The training set is one fixed batch of pairs, so a step of rate lr on the summed loss is an Euler step of Lemma 1's
flow at that batch's own moments:

    X = (C12 + C12^T) / 2,  X + X' = (C11 + C22) / 2;   dt = 4 lr,  eta = weight decay / 4,  beta = (1 - tau) / dt
"""

import keras
import numpy as np
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import SGD
from tf_directpred.predictors import DirectPredLayer, IdentityPredictor, LinearPredictor
from tf_directpred.theory.dynamics import (
    lemma1_flow,
    moments,
    no_predictor_flow,
    no_stop_gradient_flow,
    parabola_flow,
)
from tf_directpred.theory.integrate import trajectory
from tf_directpred.theory.parameters import IsotropicModel, LinearNetwork

PAIRS, INPUTS, FEATURES = 256, 6, 4
LEARNING_RATES = (0.04, 0.02, 0.01, 0.005)
ETA, BETA, ALPHA_P, SIGMA2 = 0.05, 0.5, 2.0, 0.2


def compare(progress=print):
    """Trains the linear networks and integrates the flows that they should follow.

    Args:
        progress: function of a line of text, called before each run.

    Returns:
        The dict of arrays that `theory.report.write_report` takes as `training`.
    """
    progress("training linear networks by train_step, beside Lemma 1's flow")
    flow_times, flow_errors = lemma1_errors(LEARNING_RATES)
    progress("training a linear network with DirectPred, beside the modes' flow")
    mode_times, modes_trained, modes_flow = directpred_modes()
    progress("training the two networks that must collapse")
    collapse_times, collapse_trained, collapse_flow = collapses()
    return {
        "learning_rates": np.array(LEARNING_RATES),
        "flow_times": flow_times,
        "flow_errors": flow_errors,
        "mode_times": mode_times,
        "modes_trained": modes_trained,
        "modes_flow": modes_flow,
        "collapse_times": collapse_times,
        "collapse_trained": collapse_trained,
        "collapse_flow": collapse_flow,
    }


def lemma1_errors(learning_rates, horizon=8.0, points=11, seed=0):
    """Distance of training from Lemma 1's flow; it is O(lr).

    Args:
        learning_rates: rates, each with horizon / (4 lr) a multiple of points - 1.
        horizon: time of the flow to train to.
        points: times compared, from 0 on.
        seed: of the images and the starting weights.

    Returns:
        `(times, errors)`: (points,), and (rates, points) relative over (W_p, W, W_a).

    Reference: Tian et al. 2021, Lemma 1.
    """
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((INPUTS, INPUTS)) / np.sqrt(INPUTS)
    images = rng.standard_normal((PAIRS, INPUTS)) @ mixing
    x1, x2 = (images * (rng.random(images.shape) < 0.8) + 0.3 * rng.standard_normal(images.shape) for _ in range(2))
    W, W_a = (0.5 * rng.standard_normal((FEATURES, INPUTS)) for _ in range(2))
    W_p = np.eye(FEATURES) + 0.3 * rng.standard_normal((FEATURES, FEATURES))
    X, X_prime = moments(x1, x2)
    params = LinearNetwork(X=X, X_prime=X_prime, alpha_p=ALPHA_P, eta=ETA, beta=BETA)
    times = np.linspace(0, horizon, points)
    flow = trajectory(lemma1_flow, np.hstack([W_p, W, W_a]), times, params)
    errors = []
    for rate in learning_rates:
        model = linear_network(LinearPredictor(), W, W_p, W_a, target_momentum=1 - 4 * rate * BETA)
        head = SGD(ALPHA_P * rate, momentum=0, weight_decay=4 * ETA / ALPHA_P)
        model.compile(SGD(rate, momentum=0, weight_decay=4 * ETA), predictor_optimizer=head)
        parts = (model.predictor.kernel, model.online.weights[0], model.target.weights[0])
        trained = [np.hstack(state) for state in follow(model, x1, x2, times, 4 * rate, parts)]
        errors.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(trained, flow)])
    return times, np.array(errors)


def directpred_modes(learning_rate=0.005, horizon=60.0, points=31, start=(0.7, 0.4, 0.2, 0.03), eta=ETA):
    """Eigenvalues of DirectPred's predictor in training, beside the scalar flow of each mode.

    The batch is exactly isotropic (X = I, X' = sigma2 I) and the encoder's rows are orthogonal, so modes do not mix.

    Args:
        learning_rate, horizon, points: as `lemma1_errors`.
        start: p_j at time 0, descending; one below p_- dies.
        eta: weight decay of the flow.

    Returns:
        `(times, trained, flow)`: (points,), and twice (points, modes), descending.

    Reference: Tian et al. 2021, eqs. 16 and 18.
    """
    x1, x2 = isotropic_pairs(SIGMA2)
    start = np.array(start)
    # The library's F is of augmented views, W (X + X') W^T = (1 + sigma2) W W^T, and p_j = sqrt(s_j).
    W = np.diag(start / np.sqrt(1 + SIGMA2)) @ np.eye(len(start), INPUTS)
    times = np.linspace(0, horizon, points)
    predictor = DirectPredLayer(rho=0.0, epsilon=0.0, normalize=False)
    model = linear_network(predictor, W, np.diag(start))
    model.compile(SGD(learning_rate, momentum=0, weight_decay=4 * eta))
    states = follow(model, x1, x2, times, 4 * learning_rate, (predictor.kernel,))
    trained = np.array([np.linalg.eigvalsh(kernel)[::-1] for (kernel,) in states])
    return times, trained, trajectory(parabola_flow, start, times, IsotropicModel(sigma2=SIGMA2, eta=eta))


def collapses(learning_rate=0.01, horizon=60.0, points=31, seed=1):
    """||W|| of the two networks that Theorem 2 says must collapse: no stop-gradient, and no predictor.

    Args:
        learning_rate, horizon, points, seed: as `lemma1_errors`.

    Returns:
        `(times, trained, flow)`: (points,), and twice (points, 2).

    Reference: Tian et al. 2021, Theorem 2.
    """
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((PAIRS, INPUTS)) * np.sqrt([1.0, 0.9, 0.7, 0.5, 0.3, 0.2])
    spread = np.sqrt([0.05, 0.1, 0.2, 0.1, 0.3, 0.4])
    x1, x2 = (images + spread * rng.standard_normal(images.shape) for _ in range(2))
    W = 0.6 * rng.standard_normal((FEATURES, INPUTS))
    X, X_prime = moments(x1, x2)
    params = LinearNetwork(X=X, X_prime=X_prime)
    times = np.linspace(0, horizon, points)
    W_p = 0.5 * np.eye(FEATURES) + 0.1 * rng.standard_normal((FEATURES, FEATURES))
    both = trajectory(no_stop_gradient_flow, np.hstack([W_p, W]), times, params)[:, :, FEATURES:]
    alone = trajectory(no_predictor_flow, W, times, params)
    trained = []
    for predictor, stop_gradient in ((LinearPredictor(), False), (IdentityPredictor(), True)):
        model = linear_network(predictor, W, W_p if stop_gradient is False else None, stop_gradient=stop_gradient)
        model.compile(SGD(learning_rate, momentum=0))
        states = follow(model, x1, x2, times, 4 * learning_rate, (model.online.weights[0],))
        trained.append([np.linalg.norm(weights) for (weights,) in states])
    return times, np.array(trained).T, np.linalg.norm(np.stack([both, alone], axis=1), axis=(2, 3))


def isotropic_pairs(sigma2, seed=2):
    """Pairs (PAIRS, INPUTS) each whose moments are exactly X = I and X' = sigma2 I."""
    columns, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((PAIRS, 2 * INPUTS)))
    image, shift = np.split(columns * np.sqrt(PAIRS), 2, axis=1)
    image, shift = image * np.sqrt(1 + sigma2 / 2), shift * np.sqrt(sigma2 / 2)
    return image + shift, image - shift


def linear_network(predictor, W, W_p=None, W_a=None, **options):
    """A `NonContrastive` of one linear layer, started at W (n2, n1), W_p (n2, n2) and, with a target, W_a (n2, n1)."""
    images = keras.Input((W.shape[1],))
    encoder = keras.Model(images, keras.layers.Dense(len(W), use_bias=False)(images))
    model = NonContrastive(encoder, None, predictor, target=None if W_a is None else "ema", loss="euclidean", **options)
    model.online.set_weights([W.T])
    if W_p is not None:
        predictor.kernel.assign(W_p.T)
    if W_a is not None:
        model.target.set_weights([W_a.T])
    return model


def follow(model, x1, x2, times, dt, weights):
    """Trains on one batch and reports weights, transposed to the theory's orientation, at the given times of the flow.

    Raises:
        ValueError: the times do not lie on steps of dt.
    """
    steps = np.diff(times) / dt
    if not np.allclose(steps, np.round(steps[0])):
        raise ValueError(f"times must be whole numbers of steps of {dt:g} apart. Received: {steps[0]:g} steps")
    states = [[np.array(w).T for w in weights]]
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: states.append([np.array(w).T for w in weights])
    )
    batch = {"view1": x1.astype("float32"), "view2": x2.astype("float32")}
    data = tf.data.Dataset.from_tensors(batch).repeat()
    model.fit(
        data, epochs=len(steps), steps_per_epoch=round(steps[0]), shuffle=False, verbose=0, callbacks=[record]
    )
    return states
