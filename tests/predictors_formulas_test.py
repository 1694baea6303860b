"""Closed forms that the authors' arrays do not cover, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.predictors import PREDICTORS, DirectCopyLayer, DirectPredLayer

D = 5


def batch(seed, n=12):
    """z1, z2, t1, t2 in float64."""
    return np.random.default_rng(seed).normal(0.3, 1, (4, n, D))


def updated(layer, *batches):
    layer.build((None, D))
    for z1, z2, t1, t2 in batches:
        layer.update(online=(tf.constant(z1), tf.constant(z2)), target=(tf.constant(t2), tf.constant(t1)))
    return layer


def test_optimal_is_least_squares(float64):
    z1, z2, t1, t2 = batch(0)
    layer = updated(PREDICTORS.create("optimal(ridge=1e-13)"), batch(0))
    expected = np.linalg.lstsq(np.r_[z1, z2], np.r_[t2, t1], rcond=None)[0]
    np.testing.assert_allclose(layer.kernel, expected, atol=1e-10)
    np.testing.assert_allclose(layer(z1), z1 @ expected, atol=1e-10)


@pytest.mark.parametrize("rho", [0.3, None])
@pytest.mark.parametrize("symmetrize", [False, True])
def test_optimal_with_ridge_averages_both_expectations(rho, symmetrize, float64):
    layer = PREDICTORS["optimal"](ridge=0.2, rho=rho, symmetrize=symmetrize)
    updated(layer, batch(0), batch(1))
    f, cross = np.zeros((2, D, D))
    weights = (0.3, 0.7) if rho else (0.5, 0.5)
    for weight, (z1, z2, t1, t2) in zip(weights, (batch(0), batch(1))):
        f += weight * (z1.T @ z1 + z2.T @ z2) / 24
        partner1, partner2 = (z2, z1) if symmetrize else (t2, t1)
        cross += weight * (partner1.T @ z1 + partner2.T @ z2) / 24  # E[t z^T]
    w_p = cross @ np.linalg.inv(f + 0.2 * np.eye(D))
    np.testing.assert_allclose(layer.kernel, w_p.T, atol=1e-12)


def test_optimal_is_finite_where_the_ridge_is_lost_in_rounding():
    z = np.float32(1e4) * np.random.default_rng(0).normal(size=(2, D)).astype("float32")
    layer = PREDICTORS.create("optimal(ridge=1e-3)")
    layer.build((None, D))
    layer.update(online=(tf.constant(z),), target=(tf.constant(z),))
    assert np.all(np.isfinite(layer.kernel))
    np.testing.assert_allclose(layer(z), z, rtol=1e-2, atol=1.0)


NORMS = {
    "spectral": lambda m: np.linalg.norm(m, 2),
    "frobenius": lambda m: np.linalg.norm(m),
    "max": lambda m: np.abs(m).max(),
    "none": lambda m: 1.0,
}


def spd(spectrum, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum),) * 2))[0]
    return (q * spectrum) @ q.T, q


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("alpha", [0.5, 1, 2, 0.3])
def test_directset_powers_and_norms(alpha, norm):
    s = np.array([3.0, 2.9, 1.0, 0.1, 0.0])
    f, q = spd(s)
    power = (q * s**alpha) @ q.T
    expected = power / NORMS[norm](power) + 0.2 * np.eye(D)
    layer = PREDICTORS.create(f"directset(alpha={alpha}, epsilon=0.2, norm='{norm}')")
    np.testing.assert_allclose(layer.solve(tf.constant(f)), expected, atol=1e-7)
    single = layer.solve(tf.constant(f, "float32"))
    np.testing.assert_allclose(single, expected, atol=2e-5 if alpha < 1 else 2e-6)


@pytest.mark.parametrize("gap", [0.0, 1e-3, 0.01, 0.03])
@pytest.mark.parametrize("d", [4, 64, 128])
def test_the_spectral_norm_is_exact_where_power_iteration_is_not(d, gap):
    """One eigenvalue a little above d - 1 equal ones: the state that equal modes come from."""
    f, _ = spd(np.r_[1, np.full(d - 1, 1 - gap)])
    kernel = DirectCopyLayer(epsilon=0).solve(tf.constant(f, "float32"))
    assert np.linalg.norm(kernel, 2) == pytest.approx(1, abs=np.log(d) / 2**12)


def operations(layer):
    layer.build((None, D))
    z = tf.TensorSpec((8, D), "float32")
    update = tf.function(layer.update, autograph=False)
    graph = update.get_concrete_function((z, z), (z, z)).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("norm", NORMS)
def test_directcopy_and_newton_schulz_need_no_decomposition(norm):
    def decompositions(layer):
        found = operations(layer)
        assert "MatMul" in found
        return {op for op in found if any(word in op for word in ("Eig", "Svd", "Qr", "Cholesky", "Inverse"))}

    assert decompositions(DirectCopyLayer(norm=norm)) == set()
    assert decompositions(PREDICTORS.create(f"directset(alpha=1, norm='{norm}')")) == set()
    assert decompositions(DirectPredLayer(solver="newton_schulz")) == set()
    assert decompositions(PREDICTORS.create(f"directset(norm='{norm}')")) == {"SelfAdjointEigV2"}


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_directpred_as_printed(epsilon):
    """Without normalisation: s^(1/2) + epsilon max s."""
    s = np.array([3.0, 2.9, 1.0, 0.1, 0.01])
    f, q = spd(s)
    kernel = DirectPredLayer(epsilon=epsilon, normalize=False).solve(tf.constant(f))
    np.testing.assert_allclose(kernel, (q * (np.sqrt(s) + epsilon * 3)) @ q.T, atol=1e-12)
