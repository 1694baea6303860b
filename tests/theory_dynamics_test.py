"""Invariants, identities and bounds of the fields along random trajectories; refusal of bad constants."""

import numpy as np
import pytest

from tf_directpred.theory import dynamics, prediction_head
from tf_directpred.theory.integrate import trajectory
from tf_directpred.theory.parameters import (
    ClosedFormNetwork,
    IndependentFeatures,
    IsotropicModel,
    LinearNetwork,
    PatchModel,
)

SEEDS = range(8)


def covariance(rng, n, scale=1.0):
    half = rng.standard_normal((n, n))
    return scale * half @ half.T / n


def random_network(seed):
    """A network and starts (W_p, W, W_a) of 3 features and 5 inputs, in the range training starts from."""
    rng = np.random.default_rng(seed)
    params = LinearNetwork(
        X=covariance(rng, 5),
        X_prime=covariance(rng, 5, 0.3),
        eta=rng.uniform(0, 0.2),
        alpha_p=rng.uniform(0.3, 4),
        beta=rng.uniform(0.05, 1),
    )
    return params, *(0.5 * rng.standard_normal((3, width)) for width in (3, 5, 5))


def random_mode(seed):
    rng = np.random.default_rng(seed)
    params = IsotropicModel(
        sigma2=rng.uniform(0, 1),
        tau=rng.uniform(0.3, 1),
        eta=rng.uniform(0, 0.3),
        alpha_p=rng.uniform(0.3, 5),
        beta=rng.uniform(0.05, 1),
    )
    return params, rng.uniform(-0.6, 1.3), rng.uniform(0.01, 1.2)


@pytest.mark.parametrize("seed", SEEDS)
def test_weight_imbalance_decays_whatever_the_target_does(seed):
    params, W_p, W, W_a = random_network(seed)
    times = np.linspace(0, 20, 21)
    y = trajectory(dynamics.lemma1_flow, np.hstack([W_p, W, W_a]), times, params)
    imbalance = dynamics.weight_imbalance(y[..., :3], y[..., 3:8], params)
    expected = np.exp(-2 * params.eta * times)[:, None, None] * imbalance[0]
    assert np.abs(imbalance - expected).max() < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_mode_imbalance_decays_with_and_without_moving_average(seed):
    params, p0, s0 = random_mode(seed)
    times = np.linspace(0, 40, 41)
    expected = np.exp(-2 * params.eta * times) * dynamics.mode_imbalance(p0, s0, params)
    for field, start in ((dynamics.mode_flow, [p0, s0]), (dynamics.mode_ema_flow, [p0, s0, 0.3])):
        y = trajectory(field, start, times, params).T
        assert np.abs(dynamics.mode_imbalance(y[0], y[1], params) - expected).max() < 1e-8


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 5.0])
def test_head_balance_is_conserved(rate):
    params = PatchModel(head_rate=rate)
    for start in prediction_head.random_starts(3, 16, seed=4):
        y = trajectory(prediction_head.population_flow, start, np.linspace(0, 60, 31), params)
        assert np.ptp(prediction_head.head_balance(y, params), axis=0).max() < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_halving_the_tolerance_changes_nothing_beyond_it(seed):
    network, *blocks = random_network(seed)
    mode, p0, s0 = random_mode(seed)
    head = PatchModel(head_rate=0.2)
    for field, start, params, horizon in (
        (dynamics.lemma1_flow, np.hstack(blocks), network, 20.0),
        (dynamics.mode_flow, [p0, s0], mode, 40.0),
        (dynamics.mode_ema_flow, [p0, s0, 0.0], mode, 40.0),
        (prediction_head.population_flow, prediction_head.random_starts(1, 16, seed)[0], head, 20.0),
    ):
        full, half = (
            trajectory(field, start, [horizon / 2, horizon], params, rtol=share * 1e-10, atol=share * 1e-13)
            for share in (1.0, 0.5)
        )
        # The tolerance bounds the error of a step; neighbouring trajectories part by up to a factor of ten.
        np.testing.assert_allclose(half, full, rtol=1e-9, atol=1e-9)


def test_lemma1_is_the_gradient_of_the_loss():
    params, W_p, W, W_a = random_network(3)
    dW_p, dW = dynamics.lemma1(W_p, W, W_a, params)
    rng = np.random.default_rng(0)
    step_p, step = rng.standard_normal(W_p.shape), rng.standard_normal(W.shape)
    h = 1e-6

    def slope(direction_p, direction):
        ahead, behind = (
            dynamics.loss(W_p + sign * h * direction_p, W + sign * h * direction, W_a, params)
            for sign in (1, -1)
        )
        return (ahead - behind) / (2 * h)

    along_p = -(dW_p + params.eta * W_p) / params.alpha_p
    assert slope(step_p, 0 * step) == pytest.approx((along_p * step_p).sum(), rel=1e-7)
    assert slope(0 * step_p, step) == pytest.approx((-(dW + params.eta * W) * step).sum(), rel=1e-7)


def test_moments_make_the_loss_of_a_batch_exact():
    rng = np.random.default_rng(1)
    images = rng.standard_normal((40, 5))
    views = [images + 0.3 * rng.standard_normal((40, 5)) for _ in range(2)]
    X, X_prime = dynamics.moments(*views)
    params = LinearNetwork(X=X, X_prime=X_prime)
    W_p, W, W_a = (0.5 * rng.standard_normal((3, width)) for width in (3, 5, 5))
    halves = [
        0.5 * ((x1 @ W.T @ W_p.T - x2 @ W_a.T) ** 2).sum(axis=1).mean() for x1, x2 in (views, views[::-1])
    ]
    assert dynamics.loss(W_p, W, W_a, params) == pytest.approx(np.mean(halves), rel=1e-12)


def test_encoder_without_stop_gradient_stays_below_its_bound():
    params, W_p, W, _ = random_network(5)
    times = np.linspace(0, 30, 301)
    y = trajectory(dynamics.no_stop_gradient_flow, np.hstack([W_p, W]), times, params)
    bound = dynamics.collapse_bound(times, y[..., :3], W, params)
    norm = np.linalg.norm(y[..., 3:], axis=(1, 2))
    assert (norm <= bound * (1 + 1e-9)).all() and norm[-1] < 0.1 * norm[0]


def test_singular_noise_lets_the_noise_free_subspace_live():
    W_p, W = 0.5 * np.eye(2), np.ones((2, 3))
    noise = np.diag([0.0, 0.3, 0.4])
    alive, dead = (
        trajectory(
            dynamics.no_stop_gradient_flow,
            np.hstack([W_p, W]),
            [200.0],
            LinearNetwork(X=np.eye(3), X_prime=noise, eta=eta),
        )[0][:, 2:]
        for eta in (0.0, 0.05)
    )
    assert np.linalg.norm(alive[:, 0]) > 0.5 and np.linalg.norm(alive[:, 1:]) < 1e-6
    assert np.linalg.norm(dead) < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_commutator_obeys_theorem_3(seed):
    rng = np.random.default_rng(seed)
    params, _, _ = random_mode(seed)
    F, half = covariance(rng, 4, 0.3), 0.2 * rng.standard_normal((4, 4))
    W_p = 0.3 * np.eye(4) + half + half.T
    dW_p, dF = dynamics.symmetrised_flow(0.0, np.stack([W_p, F]), params)
    rate = dynamics.commutator(dF, W_p) + dynamics.commutator(F, dW_p)
    L, K = dynamics.commutator(F, W_p), dynamics.alignment_matrix(W_p, F, params)
    np.testing.assert_allclose(rate, -dynamics.anticommutator(L, K), atol=1e-13)
    times = np.linspace(0, 15, 1501)
    y = trajectory(dynamics.symmetrised_flow, np.stack([W_p, F]), times, params)
    norm = np.linalg.norm(dynamics.commutator(y[:, 1], y[:, 0]), axis=(1, 2))
    bound = dynamics.alignment_bound(times, y[:, 0], y[:, 1], params)
    assert (norm <= bound * 1.001 + 1e-9).all()


def test_collapse_vanishes_without_aligning():
    W_p = np.array([[0.4, -0.1], [-0.1, 0.2]])
    F = np.array([[0.3, 0.05], [0.05, 0.1]])
    params = IsotropicModel(sigma2=0.2, eta=1.0)
    y = trajectory(dynamics.symmetrised_flow, np.stack([W_p, F]), [5.0, 6.0], params)
    raw = np.linalg.norm(dynamics.commutator(y[:, 1], y[:, 0]), axis=(1, 2))
    assert raw[1] / raw[0] == pytest.approx(np.exp(-3), rel=0.05)
    frozen = dynamics.normalised_commutator(y[:, 1], y[:, 0])
    assert frozen[1] == pytest.approx(frozen[0], rel=0.02) and frozen[1] > 0.01


def test_tau_on_parabola_matches_the_moving_average():
    params = IsotropicModel(sigma2=0.2, eta=0.02, beta=0.4)
    times = np.linspace(0, 40, 4001)
    p, _, tau = trajectory(dynamics.mode_ema_flow, [0.1, 0.01, 0.0], times, params).T
    np.testing.assert_allclose(dynamics.tau_on_parabola(times, p, params), tau, atol=1e-8)


def test_condition_of_alignment_is_the_sign_of_k():
    params, p, s = random_mode(2)
    K = (1 + params.sigma2) * (params.alpha_p * s / 2 + p**2) - params.tau * p + 1.5 * params.eta
    assert dynamics.alignment_eigenvalue(p, s, params) == pytest.approx(K, abs=1e-14)


def test_aligned_matrix_flow_is_its_modes():
    params = IsotropicModel(sigma2=0.2, eta=0.05, alpha_p=2.0)
    U, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    p0, s0 = np.array([0.3, 0.5, -0.1]), np.array([0.2, 0.05, 0.4])
    start = np.stack([(U * p0) @ U.T, (U * s0) @ U.T])
    W_p, F = trajectory(dynamics.symmetrised_flow, start, [20.0], params)[0]
    p, s = trajectory(dynamics.mode_flow, np.stack([p0, s0]), [20.0], params)[0]
    np.testing.assert_allclose([np.diag(U.T @ W_p @ U), np.diag(U.T @ F @ U)], [p, s], atol=1e-9)


def test_cosine_step_conserves_the_norm():
    lam, z = np.array([0.2, 0.7, 1.1]), np.array([1.0, -0.4, 0.6])
    assert z @ dynamics.cosine_step(lam, z, z) == pytest.approx(0.0, abs=1e-15)
    assert abs(z @ dynamics.isotropic_cosine_step(lam, z, z)) > 1e-3


def test_isoloss_network_reaches_one_eigenvalue_from_small_modes():
    params = ClosedFormNetwork(X=np.eye(3), X_prime=0.2 * np.eye(3), eta=0.05, exponent=1.0)
    W = trajectory(dynamics.closed_form_isoloss_flow, np.diag([0.7, 0.02, 1e-3]), [60.0], params)[0]
    np.testing.assert_allclose(np.diag(W @ W.T), 0.95 / 1.2, atol=1e-8)


BAD_CONSTANTS = [
    (IsotropicModel, {"sigma2": -0.1}, "sigma2"),
    (IsotropicModel, {"sigma2": float("nan")}, "sigma2"),
    (IsotropicModel, {"sigma2": 0.1, "tau": 1.2}, "tau"),
    (IsotropicModel, {"sigma2": 0.1, "tau": -0.1}, "tau"),
    (IsotropicModel, {"sigma2": 0.1, "eta": -1e-3}, "eta"),
    (IsotropicModel, {"sigma2": 0.1, "alpha_p": 0.0}, "alpha_p"),
    (IsotropicModel, {"sigma2": 0.1, "alpha_p": -1.0}, "alpha_p"),
    (IsotropicModel, {"sigma2": 0.1, "beta": -1.0}, "beta"),
    (LinearNetwork, {"X": [[1, 2], [0, 1]], "X_prime": np.eye(2)}, "X must be symmetric"),
    (LinearNetwork, {"X": np.eye(2), "X_prime": -np.eye(2)}, "X_prime must be positive semi-definite"),
    (LinearNetwork, {"X": np.eye(2), "X_prime": np.eye(3)}, "X_prime must have the shape"),
    (LinearNetwork, {"X": np.eye(2), "X_prime": np.eye(2), "alpha_p": 0}, "alpha_p"),
    (LinearNetwork, {"X": np.ones(3), "X_prime": np.eye(3)}, "X must be square"),
    (ClosedFormNetwork, {"X": np.eye(2), "X_prime": np.eye(2), "exponent": 0}, "exponent"),
    (ClosedFormNetwork, {"X": np.eye(2), "X_prime": np.eye(2), "epsilon": -0.1}, "epsilon"),
    (ClosedFormNetwork, {"X": np.eye(2), "X_prime": np.eye(2), "tau": 2}, "tau"),
    (IndependentFeatures, {"sigma2": [0.1, -0.1]}, "sigma2"),
    (IndependentFeatures, {"sigma2": 0.1, "data_variance": 0.0}, "data_variance"),
    (PatchModel, {"strength": (3.0,)}, "strength"),
    (PatchModel, {"noise_patches": 0}, "noise_patches"),
    (PatchModel, {"head_rate": -1.0}, "head_rate"),
]


@pytest.mark.parametrize(("kind", "constants", "message"), BAD_CONSTANTS)
def test_constants_out_of_range_are_named(kind, constants, message):
    with pytest.raises(ValueError, match=message) as error:
        kind(**constants)
    assert "Received: " in str(error.value)


def test_matrices_that_do_not_fit_are_named():
    lopsided, params = np.array([[1.0, 0.5], [0.0, 1.0]]), IsotropicModel(sigma2=0.1)
    with pytest.raises(ValueError, match="F must be symmetric"):
        dynamics.directpred(lopsided)
    with pytest.raises(ValueError, match="F must be positive semi-definite"):
        dynamics.directpred(np.diag([1.0, -0.5]))
    with pytest.raises(ValueError, match="F must be symmetric"):
        dynamics.symmetrised_flow(0.0, np.stack([np.eye(2), lopsided]), params)
    with pytest.raises(ValueError, match="F must be symmetric"):
        dynamics.alignment_matrix(np.eye(2), lopsided, params)
    network = LinearNetwork(X=np.eye(3), X_prime=np.eye(3))
    with pytest.raises(ValueError, match=r"y must have shape \(n2, 2 \+ 3 \+ 3\)"):
        dynamics.lemma1_flow(0.0, np.zeros((2, 5)), network)
