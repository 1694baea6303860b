"""Patch-level training of the two-neuron model: fresh samples, batch normalisation, plain SGD.

Batch normalisation makes the loss blind to the neurons' scale, so gradient noise only inflates them and with
it stops learning: keep learning_rate / batch_size small.
"""

import numpy as np

from tf_directpred.theory.parameters import require_positive


def weights_of(y, dimension):
    """Weights with the nine scalars of a state; v_1 and v_2 are the first two axes.

    Args:
        y: `(9,)`; dimension: d, at least 4.

    Returns:
        W, `(2, d)`.
    """
    a, (r1, r2), c = y[:4].reshape(2, 2), y[4:6], y[6]
    W = np.zeros((2, dimension))
    W[:, :2] = a
    W[0, 2] = np.sqrt(r1)
    W[1, 2:4] = c / np.sqrt(r1), np.sqrt(r2 - c**2 / r1)
    return W


def state_of(W, E):
    """The nine scalars of a network, in the order of `prediction_head.STATE`.

    Args:
        W: `(2, d)`; E: `(2,)`, the head's (E12, E21).

    Returns:
        `(9,)`.
    """
    off = W[:, 2:] @ W[:, 2:].T
    return np.array([*W[:, :2].ravel(), off[0, 0], off[1, 1], off[0, 1], *E])


def draw_views(rng, batch_size, dimension, params):
    """Two views of fresh samples: the same feature and sign, different patches.

    Args:
        rng: numpy Generator; batch_size: N; dimension: d; params: `PatchModel`.

    Returns:
        `(2, N, P, d)`, float32.
    """
    shown = params.feature_patches
    views = np.zeros((2, batch_size, shown + params.noise_patches, dimension), np.float32)
    feature = rng.integers(2, size=batch_size)
    length = np.asarray(params.strength)[feature] * rng.choice([-1.0, 1.0], size=batch_size)
    views[:, np.arange(batch_size), :shown, feature] = length[:, None, None]
    noise = rng.standard_normal((2, batch_size, params.noise_patches, dimension - 2), np.float32)
    views[:, :, shown:, 2:] = params.sigma * noise
    return views


def _standardise(x):
    centred = x - x.mean(axis=0)
    return centred / x.std(axis=0)


def gradients(W, E, views):
    """Gradients of `L = sum_j (1 - mean BN(F_j) SG[BN(G_j)])`, F of view 1 and G of view 2.

    Args:
        W: `(2, d)`; E: `(2,)`; views: `(2, N, P, d)`.

    Returns:
        `(dL/dW, dL/dE)`, shapes of W and E.
    """
    # Tall products: numpy would take a stack of small ones row by row.
    patches = views.reshape(2, -1, W.shape[1])
    overlaps = (patches @ W.T.astype(views.dtype)).reshape(*views.shape[:3], 2)
    f, G = (overlaps * overlaps**2).sum(axis=2, dtype=float)
    F = f + E * f[:, ::-1]
    prediction, target = _standardise(F), _standardise(G)
    agreement = (prediction * target).mean(axis=0)
    dF = (prediction * agreement - target) / (F.std(axis=0) * len(F))
    df = dF + (E * dF)[:, ::-1]
    slope = df[:, None].astype(views.dtype) * 3 * overlaps[0] ** 2
    dW = slope.reshape(-1, 2).T @ patches[0]
    return dW.astype(float), (dF * f[:, ::-1]).sum(axis=0)


def train(
    y0, horizon, params, dimension=16, batch_size=1024, learning_rate=0.02, seed=0, reports=100, progress=None
):
    """Trains neurons and head by SGD on fresh batches.

        W <- W - learning_rate dL/dW,  E <- E - head_rate learning_rate dL/dE

    Args:
        y0: `(9,)`, the start; horizon: time to train for, steps times learning_rate.
        params: `PatchModel`.
        dimension: d of a patch, at least 4; batch_size: N; learning_rate: of the neurons, above 0.
        seed: of the samples; reports: number of equally spaced states to return beside the start.
        progress: None, or a function of a line of text, called ten times.

    Returns:
        `(times, states)`, `(reports + 1,)` and `(reports + 1, 9)`.

    Raises:
        ValueError: learning_rate or horizon is not above 0.

    Reference: Wen & Li 2022.
    """
    require_positive("learning_rate", learning_rate)
    require_positive("horizon", horizon)
    rng = np.random.default_rng(seed)
    W, E = weights_of(np.asarray(y0, dtype=float), dimension), np.array(y0[7:9], dtype=float)
    steps = round(horizon / learning_rate)
    report_at = np.unique(np.linspace(0, steps, reports + 1).round().astype(int))
    states = [state_of(W, E)]
    for step in range(1, steps + 1):
        dW, dE = gradients(W, E, draw_views(rng, batch_size, dimension, params))
        W = W - learning_rate * dW
        E = E - params.head_rate * learning_rate * dE
        if step == report_at[len(states)]:
            states.append(state_of(W, E))
        if progress is not None and step % max(steps // 10, 1) == 0:
            progress(f"  SGD on patches: step {step} of {steps}")
    return report_at * learning_rate, np.array(states)
