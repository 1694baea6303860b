"""The library's own training step against the theory's flows."""

import numpy as np
import pytest

from tf_directpred import theory_check


def test_training_follows_lemma_1_to_first_order_in_the_rate():
    _, errors = theory_check.lemma1_errors((0.02, 0.01, 0.005), horizon=4.0, points=6)
    coarse, fine, finer = errors[:, 1:]
    assert np.all(coarse < 0.05)
    np.testing.assert_allclose(coarse / fine, 2.1, atol=0.25)
    np.testing.assert_allclose(fine / finer, 2.05, atol=0.15)


def test_modes_of_directpred_follow_the_scalar_flow():
    _, trained, flow = theory_check.directpred_modes(learning_rate=0.01, horizon=30.0, points=11)
    np.testing.assert_allclose(trained, flow, atol=0.02)
    p_minus, p_plus = np.sort(np.roots([1.2, -1, theory_check.ETA]))
    np.testing.assert_allclose(trained[-1, :2], p_plus, rtol=1e-3)
    assert trained[0, -1] < p_minus and trained[-1, -1] < trained[0, -1] / 2


def test_networks_without_a_crutch_collapse_at_the_predicted_rates():
    _, trained, flow = theory_check.collapses(horizon=40.0, points=11)
    np.testing.assert_allclose(trained, flow, rtol=0.02)
    assert np.all(trained[-1] < 0.05 * trained[0])


def test_pairs_are_isotropic():
    x1, x2 = theory_check.isotropic_pairs(0.3)
    X, X_prime = theory_check.moments(x1, x2)
    np.testing.assert_allclose(X, np.eye(len(X)), atol=1e-12)
    np.testing.assert_allclose(X_prime, 0.3 * np.eye(len(X)), atol=1e-12)


def test_times_that_no_step_reaches_are_refused():
    with pytest.raises(ValueError, match="whole numbers of steps of 0.4 apart"):
        theory_check.lemma1_errors((0.1,), horizon=1.0, points=2)
