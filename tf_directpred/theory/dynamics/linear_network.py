"""Lemma 1 and Theorems 1 and 2: the exact flow of a linear network, with and without its crutches.

A state is one matrix of blocks side by side: `[W_p | W | W_a]` of shape (n2, n2 + 2 n1) for BYOL, and only
the blocks that move for the others.
"""

import numpy as np
from scipy.linalg import expm

from tf_directpred.theory.parameters import require


def moments(view1, view2):
    """X and X' of a finite set of pairs, used in both directions.

        X = (C12 + C12^T) / 2,  X + X' = (C11 + C22) / 2,  C_ab = mean x_a x_b^T

    Args:
        view1, view2: arrays `(N, n1)`; row i of both are two views of one image.

    Returns:
        `(X, X_prime)`, each `(n1, n1)`; X' is positive semi-definite, X only if the views of an image agree
        more than they differ.

    Raises:
        ValueError: the views are not matrices of one shape.
    """
    view1, view2 = np.asarray(view1, dtype=float), np.asarray(view2, dtype=float)
    fits = view1.ndim == 2 and view1.shape == view2.shape
    require(fits, "view2", f"be (N, n1) like view1, {view1.shape}", f"array of shape {view2.shape}")
    cross = view1.T @ view2 / len(view1)
    own = (view1.T @ view1 + view2.T @ view2) / (2 * len(view1))
    X = (cross + cross.T) / 2
    return X, own - X


def loss(W_p, W, W_a, params):
    """Population loss of the linear network.

        J = 1/2 E || W_p W x1 - W_a x2 ||^2

    Args:
        W_p: `(n2, n2)`; W, W_a: `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        A float.

    Reference: Tian et al. 2021, eq. 1.
    """
    second_moment = params.X + params.X_prime
    prediction = W_p @ W
    return 0.5 * (
        np.trace(prediction @ second_moment @ prediction.T)
        - 2 * np.trace(prediction @ params.X @ W_a.T)
        + np.trace(W_a @ second_moment @ W_a.T)
    )


def lemma1(W_p, W, W_a, params):
    """Rates of predictor and encoder under a stop-gradient.

        dW_p/dt = alpha_p (-W_p W (X + X') + W_a X) W^T - eta W_p
        dW/dt   = W_p^T  (-W_p W (X + X') + W_a X)      - eta W

    Args:
        W_p: `(n2, n2)`; W, W_a: `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        `(dW_p, dW)`.

    Reference: Tian et al. 2021, Lemma 1.
    """
    residual = -W_p @ W @ (params.X + params.X_prime) + W_a @ params.X
    return params.alpha_p * residual @ W.T - params.eta * W_p, W_p.T @ residual - params.eta * W


def _blocks(y, params, *, predictor, target):
    """The blocks of a state: W_p if there is a `predictor`, W, and W_a if there is a `target`."""
    n1, n2 = len(params.X), len(y)
    widths = [n2] * predictor + [n1] * (1 + target)
    fits = y.ndim == 2 and y.shape[1] == sum(widths)
    require(fits, "y", f"have shape (n2, {' + '.join(map(str, widths))})", f"array of shape {y.shape}")
    return np.split(y, np.cumsum(widths)[:-1], axis=1)


def lemma1_flow(t, y, params):
    """BYOL: Lemma 1 with an exponential-moving-average target.

        dW_p/dt, dW/dt as `lemma1`;  dW_a/dt = beta (W - W_a)

    Args:
        t: time (the field does not depend on it).
        y: `[W_p | W | W_a]`, `(n2, n2 + 2 n1)`.
        params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Lemma 1.
    """
    W_p, W, W_a = _blocks(y, params, predictor=True, target=True)
    return np.hstack([*lemma1(W_p, W, W_a, params), params.beta * (W - W_a)])


def simsiam_flow(t, y, params):
    """SimSiam: Lemma 1 with W_a = W; the stop-gradient stays.

    Args:
        t: time; y: `[W_p | W]`, `(n2, n2 + n1)`; params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Lemma 1.
    """
    W_p, W = _blocks(y, params, predictor=True, target=False)
    return np.hstack(lemma1(W_p, W, W, params))


def no_stop_gradient_flow(t, y, params):
    """A predictor without stop-gradient: the gradient also runs through W_a = W.

        dW/dt = -(W_p^T W_p + I) W X' - (W_p - I)^T (W_p - I) W X - eta W
        dW_p/dt as `lemma1` with W_a = W

    Args:
        t: time; y: `[W_p | W]`, `(n2, n2 + n1)`; params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Theorem 2.
    """
    W_p, W = _blocks(y, params, predictor=True, target=False)
    identity = np.eye(len(W_p))
    distance = W_p - identity
    dW = (
        -(W_p.T @ W_p + identity) @ W @ params.X_prime - distance.T @ distance @ W @ params.X - params.eta * W
    )
    return np.hstack([lemma1(W_p, W, W, params)[0], dW])


def no_predictor_flow(t, y, params):
    """A stop-gradient without predictor, W_p = I and W_a = W.

        dW/dt = -W (X' + eta I)

    Args:
        t: time; y: W, `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Section 3 (the paper's remark puts the matrix on the wrong side of W).
    """
    (W,) = _blocks(y, params, predictor=False, target=False)
    return -W @ params.X_prime - params.eta * W


def no_predictor_ema_flow(t, y, params):
    """A stop-gradient and a moving-average target without predictor: linear, and it still collapses.

        dW/dt = -W (X + X' + eta I) + W_a X;  dW_a/dt = beta (W - W_a)

    Args:
        t: time; y: `[W | W_a]`, `(n2, 2 n1)`; params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Lemma 1 with W_p = I.
    """
    W, W_a = _blocks(y, params, predictor=False, target=True)
    dW = -W @ (params.X + params.X_prime) + W_a @ params.X - params.eta * W
    return np.hstack([dW, params.beta * (W - W_a)])


def no_predictor_no_stop_gradient_flow(t, y, params):
    """Neither predictor nor stop-gradient.

        dW/dt = -W (2 X' + eta I)

    Args:
        t: time; y: W, `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, Theorem 2 with W_p = I.
    """
    (W,) = _blocks(y, params, predictor=False, target=False)
    return -2 * W @ params.X_prime - params.eta * W


def no_predictor_solution(t, W0, params):
    """The flow without predictor, solved: `W(t) = W0 expm(-(X' + eta I) t)`.

    Args:
        t: time, a float; W0: `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        W(t), `(n2, n1)`.

    Reference: Tian et al. 2021, Section 3.
    """
    return W0 @ expm(-(params.X_prime + params.eta * np.eye(len(params.X))) * t)


def weight_imbalance(W_p, W, params):
    """What the flow of Lemma 1 forgets at the rate 2 eta, whatever the target does.

        W W^T - W_p^T W_p / alpha_p = e^{-2 eta t} C

    Args:
        W_p: `(..., n2, n2)`; W: `(..., n2, n1)`; params: `LinearNetwork`.

    Returns:
        `(..., n2, n2)`; at time 0 it is C.

    Reference: Tian et al. 2021, Theorem 1.
    """
    return W @ W.swapaxes(-1, -2) - W_p.swapaxes(-1, -2) @ W_p / params.alpha_p


def collapse_matrix(W_p, params):
    """The matrix H that drives the encoder to zero when there is no stop-gradient.

        d vec(W)/dt = -H vec(W)
        H = X' (x) (W_p^T W_p + I) + X (x) (W_p - I)^T (W_p - I) + eta I

    Args:
        W_p: `(n2, n2)`; params: `LinearNetwork`.

    Returns:
        `(n1 n2, n1 n2)`, symmetric; vec stacks columns.

    Reference: Tian et al. 2021, Theorem 2.
    """
    identity = np.eye(len(W_p))
    distance = W_p - identity
    H = np.kron(params.X_prime, W_p.T @ W_p + identity) + np.kron(params.X, distance.T @ distance)
    return H + params.eta * np.eye(len(H))


def collapse_bound(times, W_p, W0, params):
    """Theorem 2's bound on the encoder along a computed trajectory.

        ||W(t)|| <= e^{-lambda_0 t} ||W(0)||,  lambda_0 = inf_t lambda_min(H(t))

    Args:
        times: `(T,)`; W_p: `(T, n2, n2)`, the predictor at those times, closely enough that the smallest
            eigenvalue is met; W0: `(n2, n1)`; params: `LinearNetwork`.

    Returns:
        `(T,)`.

    Reference: Tian et al. 2021, Theorem 2.
    """
    lowest = min(np.linalg.eigvalsh(collapse_matrix(each, params))[0] for each in W_p)
    return np.exp(-lowest * np.asarray(times)) * np.linalg.norm(W0)
