"""IsoLoss: gradients of four losses in the predictor's eigenbasis, and the flows they cause.

lam are the eigenvalues of the symmetric predictor D, z1 and z2 the online and target projections in its
eigenbasis. Every function returns the step -dL/dz1 that gradient descent takes.
"""

import numpy as np


def euclidean_step(lam, z1, z2):
    """`lam (z2 - lam z1)` of L = 1/2 ||D z1 - SG z2||^2.

    Args:
        lam, z1, z2: `(m,)`.

    Returns:
        `(m,)`.

    Reference: Halvagal et al. 2023, Euclidean loss.
    """
    return lam * isotropic_euclidean_step(lam, z1, z2)


def isotropic_euclidean_step(lam, z1, z2):
    """`z2 - lam z1` of L = 1/2 ||z1 - SG(z2 + z1 - D z1)||^2: every mode learns at one rate.

    Args:
        lam, z1, z2: `(m,)`.

    Returns:
        `(m,)`.

    Reference: Halvagal et al. 2023, IsoLoss, Euclidean.
    """
    return z2 - lam * z1


def cosine_step(lam, z1, z2):
    """The step of the cosine loss, which conserves ||z1|| when z2 = z1.

        L = -<D z1, SG z2> / (||D z1|| ||z2||)
        -dL/dz1 = lam / (||D z1|| ||z2||) (z2 - lam z1 <D z1, z2> / ||D z1||^2)

    Args:
        lam, z1, z2: `(m,)`.

    Returns:
        `(m,)`.

    Reference: Halvagal et al. 2023, cosine loss.
    """
    return lam * isotropic_cosine_step(lam, z1, z2)


def isotropic_cosine_step(lam, z1, z2):
    """`cosine_step` without the leading lam: every mode learns at one rate.

    Args:
        lam, z1, z2: `(m,)`.

    Returns:
        `(m,)`.

    Reference: Halvagal et al. 2023, IsoLoss, cosine.
    """
    prediction = lam * z1
    squared = prediction @ prediction
    return (z2 - prediction * (prediction @ z2) / squared) / np.sqrt(squared * (z2 @ z2))


def _predictor_eigenvalue(s, params):
    # An integrator's last digit may put a dying mode below zero, where a root has no value.
    return np.maximum(s, 0) ** params.exponent


def euclidean_mode_flow(t, s, params):
    """Growth of a mode of F under the Euclidean loss and a closed-form predictor.

        ds/dt = 2 s [tau l lam - (l + sigma2) lam^2 - eta],  lam = s^exponent,  l = data_variance

    Args:
        t: time; s: `(m,)`; params: `IndependentFeatures`.

    Returns:
        ds/dt, of s's shape.

    Reference: Halvagal et al. 2023, with noise and weight decay.
    """
    lam = _predictor_eigenvalue(s, params)
    pull = params.tau * params.data_variance - (params.data_variance + params.sigma2) * lam
    return 2 * s * (lam * pull - params.eta)


def isotropic_mode_flow(t, s, params):
    """The same growth under the isotropic loss: no trivial basin, small modes grow at the rate tau l - eta.

        ds/dt = 2 s [tau l - (l + sigma2) lam - eta],  lam = s^exponent,  l = data_variance

    Args:
        t: time; s: `(m,)`; params: `IndependentFeatures`.

    Returns:
        ds/dt, of s's shape.

    Reference: Halvagal et al. 2023, with noise and weight decay.
    """
    lam = _predictor_eigenvalue(s, params)
    pull = params.tau * params.data_variance - (params.data_variance + params.sigma2) * lam
    return 2 * s * (pull - params.eta)
