"""Fixed points, thresholds and basins against integration."""

import numpy as np
import pytest

from tf_directpred.theory import dynamics, equilibria
from tf_directpred.theory.integrate import (
    bisect_threshold,
    collapse_boundary,
    ema_threshold,
    escapes,
    first_crossing,
    saddle_of,
    trajectory,
)
from tf_directpred.theory.parameters import IndependentFeatures, IsotropicModel

VISIBLE = IsotropicModel(sigma2=0.25, eta=0.1)


def test_kinds_of_fixed_points():
    kinds = [point.kind for point in equilibria.mode_fixed_points(VISIBLE)]
    assert kinds == ["stable node", "saddle", "stable node"]
    critical = IsotropicModel(sigma2=0.25, eta=0.2)
    assert [point.kind for point in equilibria.mode_fixed_points(critical)] == ["stable node", "half-stable"]
    assert len(equilibria.mode_fixed_points(IsotropicModel(sigma2=0.25, eta=0.3))) == 1
    with pytest.raises(ValueError, match="eta must be above 0"):
        equilibria.mode_fixed_points(IsotropicModel(sigma2=0.25))


def test_jacobian_is_the_fields_derivative():
    y, h = np.array([0.3, 0.2]), 1e-6
    columns = [
        (dynamics.mode_flow(0.0, y + h * e, VISIBLE) - dynamics.mode_flow(0.0, y - h * e, VISIBLE)) / (2 * h)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(equilibria.mode_jacobian(*y, VISIBLE), np.transpose(columns), atol=1e-9)


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_alignment_decay_is_where_k_turns_positive(share):
    params = IsotropicModel(sigma2=0.25)
    params = IsotropicModel(sigma2=0.25, eta=share * equilibria.alignment_decay(params))
    p = np.linspace(0, 1, 20001)
    K = dynamics.alignment_eigenvalue(p, p**2 / params.alpha_p, params)
    assert (K.min() > 0) == (share > 1)
    low, high = equilibria.unaligned_interval(params)
    if share < 1:
        inside = p[K < 0]
        np.testing.assert_allclose([inside[0], inside[-1]], [low, high], atol=1e-4)
    else:
        assert np.isnan(low) and np.isnan(high)


def test_criterion_without_decay_against_integration():
    rng = np.random.default_rng(0)
    params = IsotropicModel(sigma2=0.25, tau=0.9, alpha_p=2.0)
    p0, s0 = rng.uniform(-1, 1.6, 60), rng.uniform(0.02, 0.8, 60)
    collapses, p, s = equilibria.limit_without_decay(p0, s0, params)
    end = trajectory(dynamics.mode_flow, np.stack([p0, s0]), [4000.0], params, method="LSODA")[0]
    assert collapses.any() and not collapses.all()
    np.testing.assert_array_equal(end[1] < 1e-3, collapses)
    np.testing.assert_allclose(end, [p, s], atol=1e-3)
    with pytest.raises(ValueError, match="s0 must be above 0"):
        equilibria.limit_without_decay(0.1, 0.0, params)
    with pytest.raises(ValueError, match="eta must be 0"):
        equilibria.limit_without_decay(0.1, 0.1, VISIBLE)


def test_boundary_is_crossed_by_no_trajectory():
    p = np.linspace(-0.55, 1.25, 10)
    boundary = collapse_boundary(p, VISIBLE)
    for start, s in zip(p, boundary):
        assert escapes([start, 1.01 * s], VISIBLE, 2000) and not escapes([start, 0.99 * s], VISIBLE, 2000)
    saddle = saddle_of(VISIBLE)
    assert collapse_boundary(saddle.p, VISIBLE) == pytest.approx(saddle.s, rel=1e-9)
    # It leaves the saddle along the eigenvector of -2 eta.
    values, vectors = np.linalg.eig(equilibria.mode_jacobian(saddle.p, saddle.s, VISIBLE))
    stable = vectors[:, values.argmin()]
    slope = (collapse_boundary(saddle.p + 5e-8, VISIBLE) - saddle.s) / 5e-8
    assert slope == pytest.approx(stable[1] / stable[0], rel=1e-4)
    # The minimum lies exactly at p_+, where ds/dt = 0.
    p_plus = equilibria.parabola_fixed_points(VISIBLE)[1]
    around = collapse_boundary(p_plus + np.array([-0.01, 0.0, 0.01]), VISIBLE)
    assert around.argmin() == 1 and around[1] == pytest.approx(0.001013, abs=1e-6)


def test_boundary_scales_with_the_predictor_rate():
    rates = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    thresholds = [
        collapse_boundary(0.0, IsotropicModel(sigma2=0.25, eta=0.1, alpha_p=rate)) for rate in rates
    ]
    np.testing.assert_allclose(thresholds * rates, thresholds[1], rtol=1e-7)


def test_boundary_without_and_with_strong_decay():
    free = IsotropicModel(sigma2=0.25)
    np.testing.assert_allclose(collapse_boundary([-0.5, 0.4, 1.0], free), [0.25, 0.0, 0.36])
    assert np.isinf(collapse_boundary([0.0, 1.0], IsotropicModel(sigma2=0.25, eta=0.3))).all()


def test_basin_on_the_parabola():
    p_minus, _ = equilibria.parabola_fixed_points(VISIBLE)
    starts = np.array([-0.2, 0.999 * p_minus, 1.001 * p_minus, 0.6])
    collapses = equilibria.parabola_collapses(starts, VISIBLE)
    end = trajectory(dynamics.parabola_flow, starts, [500.0], VISIBLE)[0]
    np.testing.assert_array_equal(collapses, [True, True, False, False])
    np.testing.assert_array_equal(end < 0.1, collapses)
    assert equilibria.parabola_collapses(0.9, IsotropicModel(sigma2=0.25, eta=0.3))
    assert not equilibria.parabola_collapses(1e-3, IsotropicModel(sigma2=0.25))


def test_survival_scan():
    sigma2 = np.linspace(0.02, 2.02, 21)
    for eta in (0.1, 0.15, 0.2):
        params = IndependentFeatures(sigma2=sigma2, eta=eta)
        w = trajectory(dynamics.directset_mode_flow, np.full(21, 0.6), [3000.0], params)[0]
        survives = sigma2 < equilibria.survival_variance(eta)
        np.testing.assert_array_equal(np.abs(w) > 1e-3, survives)
        # p = sqrt(w^2) of a dying feature is its w, which weight decay alone shrinks.
        np.testing.assert_allclose(np.abs(w), equilibria.directset_fixed_point(params), atol=1e-8)
    assert np.isinf(equilibria.survival_variance(0.0))
    with pytest.raises(ValueError, match="eta must be finite and at least 0"):
        equilibria.survival_variance(-0.1)


def test_isoloss_fixed_point():
    params = IndependentFeatures(sigma2=[0.0, 0.2, 1.0], eta=0.05, exponent=1.0)
    s = trajectory(dynamics.isotropic_mode_flow, np.full(3, 1e-3), [80.0], params)[0]
    np.testing.assert_allclose(s, equilibria.isoloss_fixed_point(params), atol=1e-9)
    assert equilibria.isoloss_fixed_point(IndependentFeatures(sigma2=0.2, eta=1.5)) == 0


def test_thresholds_and_times_refuse_nonsense():
    with pytest.raises(ValueError, match="bracket a change"):
        bisect_threshold(lambda x: True, 0.1, 1.0)
    with pytest.raises(ValueError, match="low must lie between 0 and high"):
        bisect_threshold(lambda x: x > 0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match="eta must lie between 0 and 0.2"):
        escapes([0.1, 0.1], IsotropicModel(sigma2=0.25, eta=0.3), 10.0)
    with pytest.raises(ValueError, match="tau must be 1"):
        ema_threshold(IsotropicModel(sigma2=0.2, eta=0.02, tau=0.8, beta=0.1))
    with pytest.raises(ValueError, match="times must increase"):
        trajectory(dynamics.mode_flow, [0.1, 0.1], [2.0, 1.0], VISIBLE)


def test_first_crossing():
    times = np.array([0.0, 1.0, 2.0])
    assert first_crossing(times, np.array([0.0, 1.0, 3.0]), 2.0) == pytest.approx(1.5)
    assert np.isnan(first_crossing(times, np.array([0.0, 1.0, 3.0]), 4.0))
