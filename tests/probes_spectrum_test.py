"""Spectrum measures on matrices whose answer is known."""

import numpy as np
import pytest

from tf_directpred.probes.spectrum import (
    correlation_eigenvalues,
    effective_rank,
    eigenspace_alignment,
    feature_std,
    normalized_commutator,
)


def _orthogonal(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_directions_is_their_number(rank):
    basis = _orthogonal(40)[:, :8]
    features = basis[:, :rank] @ _orthogonal(8, 1)[:rank]
    assert effective_rank(100.0 * features) == pytest.approx(rank, abs=1e-6)


def test_effective_rank_is_the_exponential_of_the_entropy_of_singular_values():
    singular = np.array([4.0, 2.0, 1.0, 1.0])
    features = _orthogonal(20)[:, :4] * singular @ _orthogonal(4, 1)
    p = singular / 8.0
    assert effective_rank(features) == pytest.approx(np.exp(-np.sum(p * np.log(p))))


def test_effective_rank_sees_the_mean_and_collapse():
    assert effective_rank(np.ones((50, 8))) == pytest.approx(1.0)
    assert effective_rank(np.zeros((50, 8))) == 0.0
    assert effective_rank(np.random.default_rng(0).normal(size=(20_000, 16))) == pytest.approx(16.0, rel=1e-3)


def test_feature_std():
    rng = np.random.default_rng(0)
    gaussian = rng.normal(size=(20_000, 64)) * rng.uniform(1.0, 9.0, (20_000, 1))
    assert feature_std(gaussian) == pytest.approx(64**-0.5, rel=0.01)
    assert feature_std(np.outer(np.arange(1.0, 9.0), np.ones(64))) == pytest.approx(0.0, abs=1e-12)
    assert feature_std(np.array([[2.0, 0.0], [-3.0, 0.0]])) == 0.5


def test_correlation_eigenvalues_are_uncentred_and_descend():
    f = np.random.default_rng(0).normal(size=(500, 6)) + 2.0
    found = correlation_eigenvalues(f)
    np.testing.assert_allclose(found, np.linalg.svd(f)[1] ** 2 / 500)
    assert found[0] > 6 * 4.0 * 0.9 and np.all(np.diff(found) <= 0.0)


def test_alignment_of_shared_and_of_turned_eigenvectors():
    vectors = _orthogonal(5)
    correlation = vectors * [5.0, 4.0, 3.0, 2.0, 1.0] @ vectors.T
    shared = vectors * [2.0, 1.0, 0.5, 0.0, -1.0] @ vectors.T
    np.testing.assert_allclose(eigenspace_alignment(correlation, shared), [1, 1, 1, 0, -1], atol=1e-7)
    assert normalized_commutator(correlation, shared) == pytest.approx(0.0, abs=1e-12)
    angle = 0.3
    turn = np.eye(5)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned = vectors @ turn @ vectors.T
    expected = [np.cos(angle), np.cos(angle), 1, 1, 1]
    np.testing.assert_allclose(eigenspace_alignment(correlation, turned), expected)


def test_commutator_of_two_by_two_matrices():
    f, w = np.diag([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert normalized_commutator(f, w) == pytest.approx(1.0)
    assert normalized_commutator(f, np.array([[0.0, 1.0], [-1.0, 0.0]])) == pytest.approx(1.0)
    assert normalized_commutator(f, np.zeros((2, 2))) == 0.0
