"""Where the flows end: fixed points, their stability, critical weight decays, exact criteria of collapse."""

import dataclasses

import numpy as np

from tf_directpred.theory.dynamics import mode_imbalance
from tf_directpred.theory.parameters import require, require_nonnegative


def critical_decay(params):
    """The weight decay above which every mode collapses.

        eta_c = tau^2 / (4 (1 + sigma2))

    Args:
        params: `IsotropicModel`.

    Returns:
        A float.

    Reference: Tian et al. 2021, eq. 16 (Fig. 4's caption omits the factor 1 + sigma2).
    """
    return params.tau**2 / (4 * (1 + params.sigma2))


def alignment_decay(params):
    """The weight decay above which K > 0 on the whole parabola.

        eta_align = tau^2 / (9 (1 + sigma2)) = (4/9) eta_c

    Args:
        params: `IsotropicModel`.

    Returns:
        A float.

    Reference: Tian et al. 2021, eq. 17 on the parabola, where alpha_p cancels.
    """
    return params.tau**2 / (9 * (1 + params.sigma2))


def unaligned_interval(params):
    """The part of the parabola where K < 0.

        (tau -+ sqrt(tau^2 - 9 eta (1 + sigma2))) / (3 (1 + sigma2))

    Args:
        params: `IsotropicModel`.

    Returns:
        `(low, high)` in p; both NaN above `alignment_decay`.

    Reference: Tian et al. 2021, eq. 17 on the parabola.
    """
    return _roots(params.tau, 9 * params.eta * (1 + params.sigma2), 3 * (1 + params.sigma2))


def _roots(tau, subtrahend, denominator):
    discriminant = tau**2 - subtrahend
    # At a double root rounding leaves +-1e-17, of which the square root would make 1e-9.
    if abs(discriminant) < 1e-14 * tau**2:
        discriminant = 0.0
    root = np.sqrt(discriminant) if discriminant >= 0 else np.nan
    return (tau - root) / denominator, (tau + root) / denominator


def parabola_fixed_points(params):
    """The two non-trivial fixed points on the parabola.

        p_-+ = (tau -+ sqrt(tau^2 - 4 eta (1 + sigma2))) / (2 (1 + sigma2))

    Between 0 and `critical_decay`, 0 and p_+ are stable and p_- bounds the basin of collapse; at it the
    double root is half-stable, and without weight decay p_- = 0 is.

    Args:
        params: `IsotropicModel`.

    Returns:
        `(p_minus, p_plus)`; both NaN above `critical_decay`.

    Reference: Tian et al. 2021, eq. 16.
    """
    return _roots(params.tau, 4 * params.eta * (1 + params.sigma2), 2 * (1 + params.sigma2))


def mode_jacobian(p, s, params):
    """The Jacobian of `dynamics.mode_flow`.

    Args:
        p, s: floats; params: `IsotropicModel`.

    Returns:
        `(2, 2)`: rows dp/dt, ds/dt; columns p, s.

    Reference: Tian et al. 2021, eqs. 11-12.
    """
    noise = 1 + params.sigma2
    pull = params.tau - noise * p
    return np.array(
        [
            [-params.alpha_p * s * noise - params.eta, params.alpha_p * pull],
            [2 * s * (pull - noise * p), 2 * (p * pull - params.eta)],
        ]
    )


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """A fixed point of one mode: `p`, `s`, Jacobian `eigenvalues` in ascending order, and its `kind`."""

    p: float
    s: float
    eigenvalues: np.ndarray
    kind: str


def _kind(eigenvalues):
    # Zero up to rounding: the Jacobian's entries are of order one or smaller.
    if np.any(np.abs(eigenvalues) < 1e-12):
        return "half-stable"
    if np.all(eigenvalues < 0):
        return "stable node"
    return "saddle" if np.any(eigenvalues < 0) else "unstable node"


def mode_fixed_points(params):
    """The isolated fixed points of one mode in the (p, s) plane, eta > 0.

        (0, 0),  (p_-, p_-^2 / alpha_p),  (p_+, p_+^2 / alpha_p)

    Their Jacobian eigenvalues are {-eta, -2 eta} at the origin, {p_- D, -2 eta} and {-p_+ D, -2 eta} with
    D = sqrt(tau^2 - 4 eta (1 + sigma2)): a stable node, a saddle (unstable in the paper), a stable node.

    Args:
        params: `IsotropicModel` with eta > 0; without decay the fixed points are the lines s = 0 and
            p = tau / (1 + sigma2).

    Returns:
        A list of `FixedPoint`: three below `critical_decay`, two at it, the origin alone above it.

    Raises:
        ValueError: eta is 0.

    Reference: Tian et al. 2021, eq. 16 and Fig. 3.
    """
    require(params.eta > 0, "eta", "be above 0 for isolated fixed points", params.eta)
    p_minus, p_plus = parabola_fixed_points(params)
    points = []
    for p in (0.0, p_minus, p_plus):
        if np.isnan(p) or points and p == points[-1].p:
            continue
        s = p**2 / params.alpha_p
        eigenvalues = np.sort(np.linalg.eigvals(mode_jacobian(p, s, params)).real)
        points.append(FixedPoint(p, s, eigenvalues, _kind(eigenvalues)))
    return points


def limit_without_decay(p0, s0, params):
    """Where a mode ends without weight decay, exactly: it stays on its parabola s = p^2 / alpha_p + c.

        collapse  iff  c <= 0 and (p0 <= 0 or -alpha_p c >= (tau / (1 + sigma2))^2),  c = s0 - p0^2 / alpha_p
        then      p = sign(p0) sqrt(-alpha_p c),  s = 0
        otherwise p = tau / (1 + sigma2),         s = p^2 / alpha_p + c

    Args:
        p0, s0: starts, `(...)` of one shape, s0 > 0; params: `IsotropicModel` with eta = 0.

    Returns:
        `(collapses, p, s)`, each of p0's shape.

    Raises:
        ValueError: eta is not 0, or an s0 is not above 0 (s = 0 is itself fixed).

    Reference: derived from Tian et al. 2021, eqs. 11-14; the paper's s0 > p0^2 / alpha_p is sufficient only.
    """
    require(params.eta == 0, "eta", "be 0", params.eta)
    p0, s0 = np.asarray(p0, dtype=float), np.asarray(s0, dtype=float)
    require(np.all(s0 > 0), "s0", "be above 0", s0)
    c = mode_imbalance(p0, s0, params)
    p_alive = params.tau / (1 + params.sigma2)
    collapses = (c <= 0) & ((p0 <= 0) | (-params.alpha_p * c >= p_alive**2))
    p = np.where(collapses, np.sign(p0) * np.sqrt(np.maximum(-params.alpha_p * c, 0)), p_alive)
    return collapses, p, np.where(collapses, 0.0, p_alive**2 / params.alpha_p + c)


def parabola_collapses(p0, params):
    """Whether a mode that starts on the parabola collapses.

        p0 < p_-, or no p_- exists; without weight decay p0 <= 0

    Args:
        p0: `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)` of booleans; at the half-stable double root of `critical_decay` a mode stays: no collapse.

    Reference: Tian et al. 2021, eq. 16.
    """
    p0 = np.asarray(p0, dtype=float)
    p_minus, _ = parabola_fixed_points(params)
    if params.eta == 0:
        return p0 <= 0
    return p0 < (np.inf if np.isnan(p_minus) else p_minus)


def directset_fixed_point(params):
    """The predictor eigenvalue at which a feature survives; the exponent plays no part in it.

        p* = (tau l + sqrt(tau^2 l^2 - 4 eta (l + sigma2))) / (2 (l + sigma2)),  l = data_variance
        and 0 unless sigma2 < survival_variance

    Args:
        params: `IndependentFeatures`.

    Returns:
        p*, of the broadcast shape of sigma2 and data_variance; s* = p*^(1/exponent).

    Reference: Wang et al. 2021.
    """
    variance, sigma2 = params.data_variance, params.sigma2
    discriminant = (params.tau * variance) ** 2 - 4 * params.eta * (variance + sigma2)
    root = np.sqrt(np.maximum(discriminant, 0))
    return np.where(discriminant > 0, (params.tau * variance + root) / (2 * (variance + sigma2)), 0.0)


def survival_variance(eta, tau=1.0, data_variance=1.0):
    """The augmentation variance below which a feature survives weight decay: decay is a filter.

        sigma2 < tau^2 l^2 / (4 eta) - l,  l = data_variance

    Args:
        eta: weight decay, `(...)`, at least 0; tau: in [0, 1]; data_variance: `(...)`.

    Returns:
        `(...)`; infinite without weight decay, negative where no feature survives.

    Raises:
        ValueError: eta is negative.

    Reference: Wang et al. 2021.
    """
    require_nonnegative("eta", eta)
    with np.errstate(divide="ignore"):
        return np.divide((tau * data_variance) ** 2, 4 * np.asarray(eta, dtype=float)) - data_variance


def epsilon_revives(epsilon, s_max, params):
    """Whether DirectPred's epsilon lets a mode with s_j ~ 0 grow.

        p_- < epsilon s_max < p_+

    Args:
        epsilon: `(...)`; s_max: largest eigenvalue of F, `(...)`; params: `IsotropicModel`.

    Returns:
        `(...)` of booleans; all False above `critical_decay`.

    Reference: Tian et al. 2021, eqs. 16 and 18.
    """
    p_minus, p_plus = parabola_fixed_points(params)
    lift = np.asarray(epsilon) * s_max
    return (p_minus < lift) & (lift < p_plus)


def isoloss_fixed_point(params):
    """The one equilibrium of the isotropic loss, reached from any start.

        lam* = (tau l - eta) / (l + sigma2), and 0 once eta >= tau l;  l = data_variance

    Args:
        params: `IndependentFeatures`.

    Returns:
        lam*, of the broadcast shape of sigma2 and data_variance.

    Reference: Halvagal et al. 2023, with noise and weight decay.
    """
    pull = params.tau * params.data_variance - params.eta
    return np.maximum(pull, 0) / (params.data_variance + params.sigma2)
