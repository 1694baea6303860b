"""Trajectories of the fields, the boundary of the basin of collapse, and thresholds found by bisection."""

import numpy as np
from scipy.integrate import solve_ivp

from tf_directpred.theory.dynamics import mode_ema_flow, mode_flow
from tf_directpred.theory.equilibria import critical_decay, mode_fixed_points, parabola_fixed_points
from tf_directpred.theory.parameters import require

# Distance from the saddle within which its stable manifold is its tangent.
_NEAR = 1e-7


def trajectory(field, y0, times, params, *, rtol=1e-10, atol=1e-13, method="DOP853"):
    """Integrates a field from time 0.

    Args:
        field: `f(t, y, params) -> dy/dt`, of y's shape.
        y0: state at time 0, an array of any shape.
        times: `(T,)`, increasing, at least 0: when to report.
        params: what the field takes.
        rtol, atol: tolerances of the integrator.
        method: a method of `scipy.integrate.solve_ivp`.

    Returns:
        `(T, *y0.shape)`.

    Raises:
        ValueError: times are not increasing from 0 on.
        RuntimeError: the integrator gave up.
    """
    y0, times = np.asarray(y0, dtype=float), np.asarray(times, dtype=float)
    increasing = times.ndim == 1 and len(times) and times[0] >= 0 and np.all(np.diff(times) > 0)
    require(increasing, "times", "increase, from 0 or later", times)

    def flat(t, y):
        return np.ravel(field(t, y.reshape(y0.shape), params))

    solution = solve_ivp(
        flat, (0.0, times[-1]), y0.ravel(), method=method, t_eval=times, rtol=rtol, atol=atol
    )
    if not solution.success:
        raise RuntimeError(f"{field.__name__} could not be integrated: {solution.message}")
    return solution.y.T.reshape(len(times), *y0.shape)


def outcomes(field, starts, horizon, params, remaining):
    """Where many starts end, at a tolerance for outcomes rather than digits.

    Args:
        field: `f(t, y, params) -> dy/dt`; starts: `(N, m)`; horizon: time to stop at; params: the field's.
        remaining: `f(y, params) -> float`, which falls through 0 when the outcome is settled.

    Returns:
        `(N, m)`.

    Raises:
        RuntimeError: the integrator gave up.
    """

    def settled(t, y):
        return remaining(y, params)

    # Past that point LSODA would resolve rounding at the flow's slow end, in millions of steps.
    settled.terminal = True
    ends = []
    for y0 in starts:
        path = solve_ivp(
            lambda t, y: field(t, y, params),
            (0.0, horizon),
            y0,
            method="LSODA",
            events=settled,
            rtol=1e-6,
            atol=1e-7,
        )
        if not path.success:
            raise RuntimeError(f"{field.__name__} could not be integrated: {path.message}")
        ends.append(path.y[:, -1])
    return np.array(ends)


def euler(field, y0, step, steps, params):
    """Gradient descent: simultaneous explicit Euler steps of a field.

    Args:
        field: `f(t, y, params) -> dy/dt`; y0: state, any shape; step: size; steps: how many; params: the
            field's.

    Returns:
        The state after the last step, of y0's shape.
    """
    y = np.array(y0, dtype=float)
    for n in range(steps):
        y = y + step * field(n * step, y, params)
    return y


def collapse_boundary(p, params):
    """The smallest s from which a mode that starts at p escapes collapse.

        eta = 0:           the parabolas s = p^2/alpha_p (p <= 0), 0, and s = (p^2 - p_+^2)/alpha_p (p >= p_+)
        0 < eta <= eta_c:  the stable manifold of (p_-, p_-^2/alpha_p), followed backwards from that point
        eta > eta_c:       infinite, every start collapses

    Args:
        p: `(...)`; params: `IsotropicModel`.

    Returns:
        s, `(...)`; exactly proportional to 1/alpha_p.

    Reference: Tian et al. 2021, eqs. 11-12 and Fig. 3.
    """
    p = np.asarray(p, dtype=float)
    if params.eta == 0:
        height = np.where(p <= 0, p**2, p**2 - (params.tau / (1 + params.sigma2)) ** 2)
        return np.maximum(height, 0) / params.alpha_p
    p_minus, _ = parabola_fixed_points(params)
    if np.isnan(p_minus):
        return np.full(p.shape, np.inf)
    s = np.empty(p.size)
    for branch in (p.ravel() <= p_minus, p.ravel() > p_minus):
        s[branch] = _stable_manifold(p.ravel()[branch], p_minus, params)
    return s.reshape(p.shape)


def _stable_manifold(p, p_minus, params):
    """s on one branch of the manifold, at p all on one side of the saddle, `(n,)`."""
    if not p.size:
        return p
    log_saddle = np.log(p_minus**2 / params.alpha_p)
    # The eigenvector of -2 eta. p is monotone along a branch and can stand in for time; log(s) keeps the
    # digits of an s that falls below 1e-6.
    slope = ((1 + params.sigma2) * p_minus**2 - params.eta) / (params.eta * p_minus)
    log_s = log_saddle + slope * (p - p_minus)
    away = np.abs(p - p_minus) > _NEAR
    if away.any():
        stop = p[np.abs(p - p_minus).argmax()]
        start = p_minus + np.copysign(_NEAR, stop - p_minus)

        def d_log_s(at, log_s):
            s = np.exp(log_s[0])
            dp, ds = mode_flow(0.0, np.array([at, s]), params)
            return [ds / s / dp]

        first = [log_saddle + slope * (start - p_minus)]
        path = solve_ivp(
            d_log_s, (start, stop), first, method="LSODA", rtol=1e-10, atol=1e-12, dense_output=True
        )
        if not path.success:
            raise RuntimeError(f"the separatrix could not be followed: {path.message}")
        log_s[away] = path.sol(p[away])[0]
    return np.exp(log_s)


def escapes(y0, params, horizon):
    """Whether a mode escapes collapse: `p(horizon) > p_+ / 2`.

    Args:
        y0: `[p, s]`, or `[p, s, tau]` for a target that follows by moving average; params:
            `IsotropicModel`, 0 < eta < `critical_decay` (of tau = 1 with a moving average).
        horizon: time at which to look; thousands of 1/eta near a threshold.

    Returns:
        A boolean.

    Raises:
        ValueError: nothing can escape above `critical_decay`.
    """
    limit = critical_decay(params)
    require(0 < params.eta < limit, "eta", f"lie between 0 and {limit:.4g}, the critical decay", params.eta)
    field = mode_flow if len(y0) == 2 else mode_ema_flow
    # LSODA takes long steps once the mode rests at a node, whose attraction bounds an explicit step.
    end = trajectory(field, y0, [horizon], params, rtol=1e-9, atol=1e-14, method="LSODA")[0]
    return bool(end[0] > parabola_fixed_points(params)[1] / 2)


def bisect_threshold(predicate, low, high, rtol=1e-6):
    """The value at which a predicate turns from False to True, by geometric bisection.

    Args:
        predicate: function of a float.
        low, high: bracket, 0 < low < high.
        rtol: relative width of the bracket to stop at.

    Returns:
        The middle of the last bracket.

    Raises:
        ValueError: the predicate does not turn between low and high.
    """
    require(0 < low < high, "low", f"lie between 0 and high={high}", low)
    turns = not predicate(low) and predicate(high)
    require(turns, "low, high", "bracket a change from False to True", (low, high))
    while high > low * (1 + rtol):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if predicate(middle) else (middle, high)
    return float(np.sqrt(low * high))


def ema_threshold(params, horizon=6000.0, rtol=1e-5):
    """The smallest p0 that escapes on the parabola, with a target that starts empty.

        s(0) = p0^2 / alpha_p, tau(0) = 0; slower targets (smaller beta) widen the basin of collapse

    Args:
        params: `IsotropicModel` with 0 < eta < `critical_decay` and beta > 0, whose tau is 1.
        horizon: when to look; rtol: relative accuracy of the bisection.

    Returns:
        A float, above p_-.

    Raises:
        ValueError: eta is out of range, or tau is not 1.

    Reference: Tian et al. 2021, eqs. 11-13.
    """
    require(params.tau == 1, "tau", "be 1, where the moving average leads", params.tau)
    p_minus, p_plus = parabola_fixed_points(params)

    def escapes_from(p0):
        return escapes([p0, p0**2 / params.alpha_p, 0.0], params, horizon)

    return bisect_threshold(escapes_from, p_minus / 2, p_plus, rtol)


def first_crossing(times, values, level):
    """The first time at which values reach a level.

    Args:
        times, values: `(T,)`; level: a float.

    Returns:
        A float, interpolated between the samples; NaN if it is never reached.
    """
    above = np.asarray(values) >= level
    if not above.any():
        return np.nan
    n = int(np.argmax(above))
    if n == 0:
        return float(times[0])
    share = (level - values[n - 1]) / (values[n] - values[n - 1])
    return float(times[n - 1] + share * (times[n] - times[n - 1]))


def saddle_of(params):
    """The saddle of one mode, through which the separatrix runs.

    Args:
        params: `IsotropicModel` with 0 < eta < `critical_decay`.

    Returns:
        A `FixedPoint`.

    Raises:
        ValueError: there is none.
    """
    saddles = [point for point in mode_fixed_points(params) if point.kind == "saddle"]
    require(saddles, "eta", f"lie below {critical_decay(params):.4g} for a saddle", params.eta)
    return saddles[0]
