"""Theorem 3: the symmetrised flow of (W_p, F) and the alignment of their eigenspaces.

A state is the stack `[W_p, F]` of shape (2, n, n), both symmetric.
"""

import numpy as np

from tf_directpred.theory.parameters import require_symmetric


def anticommutator(A, B):
    """`{A, B} = A B + B A`, arrays `(..., n, n)`."""
    return A @ B + B @ A


def commutator(A, B):
    """`[A, B] = A B - B A`, arrays `(..., n, n)`."""
    return A @ B - B @ A


def symmetrised_flow(t, y, params):
    """Predictor and correlation matrix when the flow of W_p is symmetrised.

        dW_p/dt = -(alpha_p/2)(1 + sigma2){W_p, F} + alpha_p tau F - eta W_p
        dF/dt   = -(1 + sigma2){W_p^2, F} + tau {W_p, F} - 2 eta F

    Args:
        t: time; y: `[W_p, F]`, `(2, n, n)`, both symmetric; params: `IsotropicModel`.

    Returns:
        dy/dt, of y's shape.

    Raises:
        ValueError: W_p or F is not symmetric.

    Reference: Tian et al. 2021, eqs. 7-8.
    """
    W_p, F = y
    require_symmetric("W_p", W_p)
    require_symmetric("F", F)
    noise = 1 + params.sigma2
    overlap = anticommutator(W_p, F)
    dW_p = -0.5 * params.alpha_p * noise * overlap + params.alpha_p * params.tau * F - params.eta * W_p
    dF = -noise * anticommutator(W_p @ W_p, F) + params.tau * overlap - 2 * params.eta * F
    return np.stack([dW_p, dF])


def normalised_commutator(F, W_p):
    """The commutator's norm in units of its factors', which collapse alone does not shrink.

        || [F, W_p] || / (||F|| ||W_p||)

    Args:
        F, W_p: `(..., n, n)`, neither of them zero.

    Returns:
        `(...)`, between 0 and 2.
    """
    norms = [np.linalg.norm(matrix, axis=(-2, -1)) for matrix in (commutator(F, W_p), F, W_p)]
    return norms[0] / (norms[1] * norms[2])


def alignment_matrix(W_p, F, params):
    """The matrix K at whose rate the commutator L = [F, W_p] decays.

        dL/dt = -(L K + K L)
        K = (1 + sigma2)[(alpha_p/2) F + W_p^2] - tau W_p + (3/2) eta I

    Args:
        W_p, F: `(..., n, n)`, symmetric; params: `IsotropicModel`.

    Returns:
        `(..., n, n)`.

    Raises:
        ValueError: W_p or F is not symmetric.

    Reference: Tian et al. 2021, Theorem 3.
    """
    require_symmetric("W_p", W_p)
    require_symmetric("F", F)
    quadratic = 0.5 * params.alpha_p * F + W_p @ W_p
    return (1 + params.sigma2) * quadratic - params.tau * W_p + 1.5 * params.eta * np.eye(F.shape[-1])


def alignment_bound(times, W_p, F, params):
    """A bound on the commutator that needs no positive definite K.

        ||L(t)|| <= exp(-int_0^t (k_1 + k_2) dt') ||L(0)||,  k_1 <= k_2 the two smallest eigenvalues of K

    L is skew, so L K + K L meets at least two eigenvalues of K: with both above lambda_0 this is Theorem 3's
    e^{-2 lambda_0 t}, and it holds where K is indefinite too.

    Args:
        times: `(T,)`, starting at 0; W_p, F: `(T, n, n)` at those times, n at least 2; params:
            `IsotropicModel`.

    Returns:
        `(T,)`; the integral is the trapezoidal rule's.

    Reference: Tian et al. 2021, Theorem 3, sharpened.
    """
    rate = np.linalg.eigvalsh(alignment_matrix(W_p, F, params))[:, :2].sum(axis=1)
    decay = np.concatenate([[0.0], np.cumsum(np.diff(times) * (rate[1:] + rate[:-1]) / 2)])
    return np.exp(-decay) * np.linalg.norm(commutator(F[0], W_p[0]))
