"""DirectPred, DirectCopy and DirectSet: the predictor is a function of F, only the encoder flows."""

import numpy as np

from tf_directpred.theory.parameters import require, require_nonnegative, require_positive, require_symmetric


def directset(F, exponent, epsilon=0.0):
    """The predictor as a power of the correlation matrix.

        W_p = U diag(s_j^exponent + epsilon max_k s_k) U^T  for  F = U diag(s) U^T

    Args:
        F: `(n, n)`, symmetric, positive semi-definite up to rounding.
        exponent: above 0; 1/2 is DirectPred, 1 is DirectCopy.
        epsilon: at least 0.

    Returns:
        W_p, `(n, n)`, symmetric; it commutes with F.

    Raises:
        ValueError: F is not symmetric, or has a negative eigenvalue, or a number is out of range.

    Reference: Wang et al. 2021.
    """
    F = np.asarray(F, dtype=float)
    require_symmetric("F", F)
    require_positive("exponent", exponent)
    require_nonnegative("epsilon", epsilon)
    s, U = np.linalg.eigh(F)
    holds = s[0] >= -1e-8 * np.abs(s).max()
    require(holds, "F", "be positive semi-definite", f"matrix with eigenvalue {s[0]:.3g}")
    p = np.maximum(s, 0) ** exponent + epsilon * s[-1]
    return (U * p) @ U.T


def directpred(F, epsilon=0.0):
    """The predictor set from the correlation matrix, as published.

        p_j = sqrt(s_j) + epsilon max_k s_k,  W_p = U diag(p) U^T

    Args:
        F: `(n, n)`, symmetric, positive semi-definite up to rounding; epsilon: at least 0.

    Returns:
        W_p, `(n, n)`, symmetric.

    Raises:
        ValueError: as `directset`.

    Reference: Tian et al. 2021, eq. 18.
    """
    return directset(F, 0.5, epsilon)


def _correlation(W, params):
    return W @ (params.X + params.X_prime if params.augmented else params.X) @ W.T


def closed_form_flow(t, W, params):
    """Lemma 1's flow of the encoder under a closed-form predictor, W_a = tau W.

        dW/dt = W_p^T (-W_p W (X + X') + tau W X) - eta W,  W_p = directset(F)

    Args:
        t: time; W: `(n2, n1)`; params: `ClosedFormNetwork`.

    Returns:
        dW/dt, of W's shape.

    Reference: Tian et al. 2021, Lemma 1 and eq. 18; Wang et al. 2021.
    """
    W_p = directset(_correlation(W, params), params.exponent, params.epsilon)
    return W_p @ (-W_p @ W @ (params.X + params.X_prime) + params.tau * W @ params.X) - params.eta * W


def closed_form_isoloss_flow(t, W, params):
    """The same network under the isotropic loss, which drops the leading W_p^T.

        dW/dt = -W_p W (X + X') + tau W X - eta W,  W_p = directset(F)

    Args:
        t: time; W: `(n2, n1)`; params: `ClosedFormNetwork`.

    Returns:
        dW/dt, of W's shape.

    Reference: Halvagal et al. 2023.
    """
    W_p = directset(_correlation(W, params), params.exponent, params.epsilon)
    return -W_p @ W @ (params.X + params.X_prime) + params.tau * W @ params.X - params.eta * W


def directset_mode_flow(t, w, params):
    """The encoder's weights on features that do not mix.

        dw/dt = w [tau l p - (l + sigma2) p^2 - eta],  p = (l w^2)^exponent,  l = data_variance

    Args:
        t: time; w: `(m,)`; params: `IndependentFeatures`.

    Returns:
        dw/dt, of w's shape.

    Reference: Wang et al. 2021.
    """
    p = (params.data_variance * w**2) ** params.exponent
    drive = params.tau * params.data_variance * p - (params.data_variance + params.sigma2) * p**2
    return w * (drive - params.eta)
