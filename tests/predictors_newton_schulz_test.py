"""The matrix-product solver: its error, and that more iterations never hurt."""

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.predictors import DirectPredLayer
from tf_directpred.predictors.matrix_products import newton_schulz_root

SPECTRA = {f"condition 1e{k}": lambda d, k=k: np.geomspace(1, 10.0**-k, d) for k in (2, 4, 6, 8, 10)} | {
    "rank 1": lambda d: np.r_[1, np.zeros(d - 1)],
    "rank 4": lambda d: np.r_[np.linspace(1, 0.1, 4), np.zeros(d - 4)],
    "rank d/2": lambda d: np.r_[np.linspace(1, 0.1, d // 2), np.zeros(d - d // 2)],
    "close": lambda d: np.r_[1, np.full(d - 1, 0.97)],
    "equal": np.ones,
}


def correlation(name, d):
    """F in float32, its exact spectrum and eigenvectors."""
    s = SPECTRA[name](d)
    q = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
    return ((q * s) @ q.T).astype("float32"), s, q


def spectral(symmetric):
    return np.abs(np.linalg.eigvalsh(symmetric)).max()


LARGE = [("rank d/2", 256), ("close", 256)]


@pytest.mark.parametrize("name, d", [*((name, d) for name in SPECTRA for d in (16, 64)), *LARGE])
def test_the_error_stays_below_a_thousandth(name, d):
    f, s, q = correlation(name, d)
    for epsilon, normalize, scale in ((0.01, True, 1), (0.1, True, 1e-8), (0.01, False, 1e4)):
        layer = DirectPredLayer(epsilon=epsilon, normalize=normalize, solver="newton_schulz")
        kernel = layer.solve(tf.constant(scale * f))
        root, lift = (1, 1) if normalize else (scale**0.5, scale)
        exact = (q * (root * np.sqrt(s) + epsilon * lift)) @ q.T
        assert spectral(kernel - exact) < 1e-3 * spectral(exact)


@pytest.mark.parametrize("name", SPECTRA)
def test_two_hundred_iterations_do_not_diverge(name):
    f, s, q = correlation(name, 32)
    exact = (q * np.sqrt(s)) @ q.T
    for iterations in (20, 30, 200):
        root = newton_schulz_root(tf.constant(f), iterations)
        assert spectral(root - exact) < 1e-3, iterations
        np.testing.assert_array_equal(root, np.transpose(root))


@pytest.mark.parametrize("negative", [1e-6, 1e-5, 1e-3])
@pytest.mark.parametrize("count", [1, 16])
def test_eigenvalues_that_rounding_made_negative_do_not_make_it_diverge(count, negative):
    """As a centred F can have; the plain iteration ends in infinities. The error is that of a root."""
    s = np.r_[np.geomspace(1, 1e-4, 32 - count), np.full(count, -negative)]
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 32)))[0]
    exact = (q * np.sqrt(np.maximum(s, 0))) @ q.T
    for iterations in (20, 30, 200):
        root = newton_schulz_root(tf.constant((q * s) @ q.T, "float32"), iterations)
        assert spectral(root - exact) < 1e-3 + 4 * negative**0.5, iterations


@pytest.mark.parametrize("name", SPECTRA)
def test_no_number_of_iterations_leaves_the_eigenvalues_range(name):
    f, _, _ = correlation(name, 16)
    for iterations in range(0, 20, 3):
        s = np.linalg.eigvalsh(newton_schulz_root(tf.constant(f), iterations))
        assert s.min() >= -1e-6 and s.max() <= 1 + 1e-4


def test_float64():
    f, s, q = correlation("condition 1e2", 16)
    root = newton_schulz_root(tf.constant((q * s) @ q.T))
    assert root.dtype == "float64"
    np.testing.assert_allclose(root, (q * np.sqrt(s)) @ q.T, atol=5e-6)


@pytest.mark.parametrize(
    "options, received",
    [
        ({"exponent": 1.0}, "exponent=1.0"),
        ({"epsilon": 0.99e-4}, "epsilon=9.9e-05"),
        ({"epsilon": 0}, "epsilon=0"),
        ({"epsilon": -0.3}, "epsilon=-0.3"),
        ({"epsilon_inside": True}, "epsilon_inside=True"),
    ],
)
def test_what_it_cannot_do_is_refused(options, received):
    words = "newton_schulz needs exponent=0.5, epsilon >= 0.0001 and epsilon_inside=False. Received: .*"
    with pytest.raises(ValueError, match=words + received):
        DirectPredLayer(solver="newton_schulz", **options)


def test_what_it_can_do_is_not_refused():
    layer = DirectPredLayer(solver="newton_schulz", epsilon=1e-4)
    f, s, q = correlation("condition 1e2", 16)
    np.testing.assert_allclose(layer.solve(tf.constant(f)), (q * (np.sqrt(s) + 1e-4)) @ q.T, atol=1e-5)
