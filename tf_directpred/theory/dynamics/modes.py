"""The decoupled dynamics of one aligned mode: p of W_p, s of F, tau of the target.

A state is `[p, s]` or `[p, s, tau]`, shape (2, ...) or (3, ...): one column a mode. On the parabola
s = p^2 / alpha_p it is p alone.
"""

import numpy as np
from scipy.integrate import cumulative_simpson


def mode_flow(t, y, params):
    """One mode with a target of fixed ratio.

        dp/dt = alpha_p s [tau - (1 + sigma2) p] - eta p
        ds/dt = 2 p s [tau - (1 + sigma2) p] - 2 eta s

    Args:
        t: time; y: `[p, s]`, `(2, ...)`; params: `IsotropicModel`.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, eqs. 11-12.
    """
    p, s = y
    pull = params.tau - (1 + params.sigma2) * p
    return np.array([params.alpha_p * s * pull - params.eta * p, 2 * s * (p * pull - params.eta)])


def mode_ema_flow(t, y, params):
    """One mode whose target follows by exponential moving average.

        dp/dt, ds/dt as `mode_flow`;  dtau/dt = beta (1 - tau) - tau (ds/dt) / (2 s)

    tau is the mode's own: one tau for all modes is consistent only while (ds/dt)/s is the same for all.

    Args:
        t: time; y: `[p, s, tau]`, `(3, ...)`; params: `IsotropicModel`, whose tau is not read.

    Returns:
        dy/dt, of y's shape.

    Reference: Tian et al. 2021, eqs. 11-13.
    """
    p, s, tau = y
    pull = tau - (1 + params.sigma2) * p
    growth = p * pull - params.eta  # (ds/dt) / (2 s), finite also at s = 0
    dp = params.alpha_p * s * pull - params.eta * p
    return np.array([dp, 2 * s * growth, params.beta * (1 - tau) - tau * growth])


def parabola_flow(t, p, params):
    """One mode on the invariant parabola, to which weight decay drives every mode; DirectPred's exactly.

        dp/dt = p^2 [tau - (1 + sigma2) p] - eta p

    Args:
        t: time; p: `(...)`; params: `IsotropicModel`, whose alpha_p is not read: it cancels.

    Returns:
        dp/dt, of p's shape.

    Reference: Tian et al. 2021, eq. 16.
    """
    return p * growth_margin(p, params)


def mode_imbalance(p, s, params):
    """What a mode forgets at the rate 2 eta: its height above the parabola.

        s - p^2 / alpha_p = c e^{-2 eta t},  c = s(0) - p(0)^2 / alpha_p

    Args:
        p, s: `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)`; at time 0 it is c.

    Reference: Tian et al. 2021, eq. 14 (c has the wrong sign below it).
    """
    return s - p**2 / params.alpha_p


def growth_margin(p, params):
    """Delta, the rate at which a mode on the parabola grows: `p [tau - (1 + sigma2) p] - eta`.

    Args:
        p: `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)`.

    Reference: Tian et al. 2021, eqs. 16-17.
    """
    return p * (params.tau - (1 + params.sigma2) * p) - params.eta


def alignment_ceiling(s, params):
    """What Delta must stay below for the eigenspaces to align: `1/2 [alpha_p (1 + sigma2) s + eta]`.

    Args:
        s: `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)`.

    Reference: Tian et al. 2021, eq. 17.
    """
    return 0.5 * (params.alpha_p * (1 + params.sigma2) * s + params.eta)


def alignment_eigenvalue(p, s, params):
    """The eigenvalue of K that belongs to an aligned mode.

        K = (1 + sigma2)(alpha_p s / 2 + p^2) - tau p + (3/2) eta = alignment_ceiling(s) - growth_margin(p)

    Args:
        p, s: `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)`; above 0 where alignment is safe.

    Reference: Tian et al. 2021, Theorem 3 and eq. 17.
    """
    return alignment_ceiling(s, params) - growth_margin(p, params)


def tau_on_parabola(times, p, params):
    """The target's ratio for a mode that stays on the parabola and starts with an empty target.

        tau(t) = beta / p(t) int_0^t p(t') e^{-beta (t - t')} dt'

    Args:
        times: `(T,)`, starting at 0; p: `(T,)` at those times; params: `IsotropicModel`.

    Returns:
        `(T,)`; the integral is Simpson's.

    Reference: Tian et al. 2021, appendix (where the integral's variable lost its prime).
    """
    times = np.asarray(times)
    weight = np.exp(params.beta * (times - times[-1]))
    return params.beta * cumulative_simpson(p * weight, x=times, initial=0) / (p * weight)
