"""Predictors in closed form at the edges: singular, tiny, huge, interrupted; and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import SGD
from tf_directpred.predictors import PREDICTORS, DirectPredLayer

SPECS = [
    "directpred",
    "directpred(epsilon=0)",
    "directpred(epsilon=-0.3)",
    "directpred(normalize=False)",
    "directpred(epsilon_inside=True)",
    "directpred(exponent=0.25)",
    "directpred(exponent=3)",
    "directpred(exponent=3, normalize=False)",
    "directpred(exponent=3, normalize=False, epsilon=-0.3)",
    "directpred(epsilon=1e10, normalize=False)",
    "directpred(solver='diagonal', exponent=3, normalize=False)",
    "directpred(solver='diagonal')",
    "directpred(solver='newton_schulz')",
    "directpred(solver='newton_schulz', normalize=False)",
    "directset",
    "directset(alpha=2, norm='frobenius')",
    "directset(alpha=0.3, norm='none')",
    "directset(alpha=3, norm='none')",
    "directset(alpha=100, norm='frobenius')",
    "directset(alpha=100, norm='max')",
    "directcopy",
    "directcopy(epsilon=0, norm='frobenius')",
    "directcopy(norm='max')",
    "directcopy(norm='none')",
]


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def symmetric(spectrum, seed=0):
    q = rotation(len(spectrum), seed)
    return (q * spectrum) @ q.T


def solved(spec, f, dtype="float32"):
    return PREDICTORS.create(spec).solve(tf.constant(f, dtype)).numpy().astype("float64")


def correlations(scale):
    """Conditions from 1 to 1e12, ranks from 0 to full, sides from 1 to 24, and bare sample correlations."""
    rng = np.random.default_rng(0)
    for d in (1, 2, 7, 24):
        for condition in (1, 1e3, 1e12):
            yield scale * symmetric(np.geomspace(1, 1 / condition, d), d)
        for n in (0, 1, d // 2, 2 * d):
            z = rng.normal(rng.normal(), 1, (n, d))
            yield scale * z.T @ z / max(n, 1)


@pytest.mark.parametrize("spec", SPECS)
def test_kernels_are_finite_symmetric_and_positive(spec):
    solve = tf.function(PREDICTORS.create(spec).solve, autograph=False)
    for f in (f for scale in (1e-30, 1e-12, 1.0, 1e12, 1e30, 3e37) for f in correlations(scale)):
        kernel = solve(tf.constant(f, "float32")).numpy().astype("float64")
        assert np.all(np.isfinite(kernel))
        largest = np.abs(kernel).max()
        assert np.abs(kernel - kernel.T).max() <= 1e-6 * largest
        assert np.linalg.eigvalsh(kernel).min() >= -1e-6 * largest


@pytest.mark.parametrize("norm, expected", [("spectral", 1 / 24), ("frobenius", 1 / 24), ("max", 1)])
def test_high_powers_keep_their_direction(norm, expected):
    kernel = solved(f"directset(alpha=100, epsilon=0, norm='{norm}')", np.ones((24, 24)))
    np.testing.assert_allclose(kernel, expected, rtol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_float64_has_no_other_edge(spec):
    for scale in (1e-300, 1e300):
        for f in correlations(scale):
            kernel = solved(spec, f, "float64")
            unit = kernel / max(np.abs(kernel).max(), 1e-300)
            assert np.all(np.isfinite(unit))
            assert np.abs(unit - unit.T).max() <= 1e-6
            assert np.linalg.eigvalsh(unit).min() >= -1e-6


@pytest.mark.parametrize("spec", ["directpred", "directpred(solver='newton_schulz')", "directset", "directcopy(epsilon=0)"])
@pytest.mark.parametrize("rho", [0.3, 0.99, None])
def test_centred_kernels_after_full_collapse(spec, rho):
    """All projections one point: the covariance is 0, and what rounding leaves of it has either sign."""
    config = {**PREDICTORS.create(spec).get_config(), "rho": rho, "center": True}
    for seed in range(5):
        layer = type(PREDICTORS.create(spec)).from_config(config)
        point = np.random.default_rng(seed).normal(3, 1, 24).astype("float32")
        for batch in (6, 33, 500):
            views = [tf.constant(np.tile(point, (batch, 1)))] * 2
            layer(views[0])
            layer.update(views, views)
        kernel = layer.kernel.numpy().astype("float64")
        assert np.all(np.isfinite(kernel))
        assert np.linalg.eigvalsh((kernel + kernel.T) / 2).min() >= -1e-6 * np.abs(kernel).max()


@pytest.mark.parametrize("spec", [s for s in SPECS if "normalize" not in s and "none" not in s])
def test_normalised_kernels_do_not_see_the_scale(spec):
    f = symmetric(np.geomspace(1, 0.01, 7))
    expected = solved(spec, f)
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(solved(spec, scale * f), expected, atol=2e-6)


@pytest.mark.parametrize(
    "spec, diagonal",
    [
        ("directpred(epsilon=0.1)", 0.1),
        ("directpred(epsilon=0)", 1e-4),
        ("directpred(epsilon=0.1, epsilon_inside=True)", 0.1**0.5),
        ("directpred(epsilon=0.1, normalize=False)", 0),
        ("directpred(epsilon=0.1, solver='diagonal')", 0.1),
        ("directpred(epsilon=0.01, solver='newton_schulz')", 0.01),
        ("directpred(epsilon=0.1, solver='newton_schulz', normalize=False)", 0),
        ("directset(epsilon=0.2)", 0.2),
        ("directcopy(epsilon=0.2)", 0.2),
        ("directcopy(epsilon=0.2, norm='none')", 0.2),
    ],
)
def test_a_correlation_of_zero(spec, diagonal):
    np.testing.assert_allclose(solved(spec, np.zeros((5, 5))), diagonal * np.eye(5), atol=1e-8)
    layer = PREDICTORS.create(spec)
    layer.build((None, 5))
    layer.update(online=(tf.zeros((4, 5)),), target=(tf.zeros((4, 5)),))
    np.testing.assert_allclose(layer.kernel, diagonal * np.eye(5), atol=1e-8)


@pytest.mark.parametrize("solver, atol", [("eigh", 2e-4), ("newton_schulz", 1e-3)])
@pytest.mark.parametrize("n", [1, 3])
def test_fewer_samples_than_dimensions(n, solver, atol):
    """Directions that the batch does not have are lifted to epsilon, the others as ever."""
    layer = DirectPredLayer(epsilon=0.1, solver=solver)
    layer.build((None, 16))
    z = np.random.default_rng(0).normal(size=(n, 16))
    layer.update(online=(tf.constant(z, "float32"),), target=())
    s, u = np.linalg.eigh(z.T @ z / n)
    root = np.sqrt(np.maximum(s, 0) / s.max())
    root[:-n] = 0
    np.testing.assert_allclose(layer.kernel, (u * (root + 0.1)) @ u.T, atol=atol)


@pytest.mark.parametrize(
    "spec, expected",
    [("directpred(epsilon=0.1)", 1.1), ("directpred(epsilon=0.1, normalize=False)", 2 + 0.4),
     ("directset(epsilon=0.1)", 1.1), ("directcopy(epsilon=0.1, norm='none')", 4.1)],
)
def test_one_dimension(spec, expected):
    np.testing.assert_allclose(solved(spec, [[4.0]]), [[expected]], rtol=1e-6)


@pytest.mark.parametrize("solver", ["eigh", "newton_schulz"])
@pytest.mark.parametrize("spectrum", [[3, 3, 3, 3], [3, 3, 1, 1], [2, 2, 2, 0], [3, 2.99999, 2.99999, 1]])
def test_repeated_eigenvalues(spectrum, solver):
    """Eigenvectors are not unique here; their kernel is."""
    s = np.array(spectrum, "float64")
    kernel = solved(f"directpred(epsilon=0.1, solver='{solver}')", symmetric(s))
    np.testing.assert_allclose(kernel, symmetric(np.sqrt(s / 3 if 3 in spectrum else s / 2) + 0.1), atol=1e-3)


def views(step, d=4):
    rng = np.random.default_rng(step)
    z1, z2, t1, t2 = (tf.constant(rng.normal(size=(8, d)), "float32") for _ in range(4))
    return {"online": (z1, z2), "target": (t2, t1)}


def test_a_target_that_is_not_finite_does_not_enter_the_cross_correlation():
    layer = PREDICTORS.create("optimal")
    layer.build((None, 4))
    layer.update(**views(0))
    before = [np.array(v) for v in layer.variables]
    bad = views(1)
    layer.update(bad["online"], (bad["target"][0] * np.nan, bad["target"][1]))
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("name", ["directpred", "directcopy", "optimal"])
def test_it_is_set_after_steps_0_n_2n_and_a_restart_keeps_the_count(name, tmp_path):
    def network():
        layer = PREDICTORS[name](update_every=3)
        return keras.Sequential([keras.Input((4,)), layer]), layer

    (model, layer), previous, moved, correlations_moved = network(), np.eye(4), [], []
    for step in range(8):
        f = np.array(layer.correlation)
        layer.update(**views(step))
        moved.append(not np.array_equal(layer.kernel, previous))
        correlations_moved.append(not np.array_equal(layer.correlation, f))
        previous = np.array(layer.kernel)
        if step in (0, 1, 4):  # in between, and just before a solve
            model.save_weights(tmp_path / "a.weights.h5")
            model, layer = network()
            model.load_weights(tmp_path / "a.weights.h5")
    assert moved == [True, False, False, True, False, False, True, False]
    assert all(correlations_moved)
    reference = network()[1]
    for step in range(8):
        reference.update(**views(step))
    np.testing.assert_array_equal(layer.kernel, reference.kernel)


def test_setting_the_kernel_does_not_reset_its_momentum():
    def hybrid():
        keras.utils.set_random_seed(0)
        images = keras.Input((4,))
        encoder = keras.Model(images, keras.layers.Dense(4)(images))
        predictor = DirectPredLayer(update_every=2, train_kernel=True)
        model = NonContrastive(encoder, None, predictor, target_init="random")
        model.compile(SGD(0.1, momentum=0.9), run_eagerly=True)
        return model

    def step(model, seed):
        x1, x2 = views(seed)["online"]
        model.train_on_batch({"view1": x1, "view2": x2})

    kept, reset = hybrid(), hybrid()
    for model in (kept, reset):
        step(model, 0)
    momentum = np.array(kept.optimizer.buffers[-1])
    assert np.abs(momentum).max() > 1e-3
    reset.optimizer.buffers[-1].assign(np.zeros((4, 4)))
    for model in (kept, reset):
        step(model, 1)
    difference = np.array(kept.predictor.kernel) - np.array(reset.predictor.kernel)
    np.testing.assert_allclose(difference, -0.1 * 0.9 * momentum, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "spec, words",
    [
        *[(f"directpred(rho={rho})", r"rho must lie in \[0, 1\) or be None. Received: rho=")
          for rho in (1, -0.1, "1e999")],
        *[(f"directcopy(update_every={n})", "update_every must be an integer >= 1. Received: update_every=")
          for n in (0, -1, 1.5, "1e999")],
        ("directpred(epsilon=-1)", "epsilon must be finite and above -1. Received: epsilon=-1"),
        ("directpred(epsilon=1e999)", "epsilon must be finite and above -1. Received: epsilon=inf"),
        ("directpred(exponent=0)", "exponent must be finite and positive. Received: exponent=0"),
        ("directpred(epsilon_inside=True, normalize=False)", "epsilon_inside needs normalize=True"),
        ("directpred(solver='lu')", "solver must be one of eigh, newton_schulz, diagonal. Received: .*'lu'"),
        ("directset(alpha=0)", "alpha must be finite and positive. Received: alpha=0"),
        ("directset(epsilon=-0.1)", "epsilon must be finite and not negative. Received: epsilon=-0.1"),
        ("directcopy(norm='l2')", "norm must be one of spectral, frobenius, max, none. Received: norm='l2'"),
        ("directcopy(alpha=0.5)", "takes no argument alpha"),
        ("optimal(ridge=0)", "ridge must be finite and positive. Received: ridge=0"),
        ("optimal(center=True)", "takes no argument center"),
        ("linear(init='zeros')", "init must be one of glorot, identity, torch. Received: init='zeros'"),
        ("diagonal(init='zeros')", "init must be one of glorot, identity, torch. Received: init='zeros'"),
        ("mlp(init='identity')", "init must be one of glorot, torch. Received: init='identity'"),
        ("mlp(hidden=0)", "hidden must be at least 1. Received: hidden=0"),
    ],
)
def test_arguments_out_of_range(spec, words):
    with pytest.raises(ValueError, match=words):
        PREDICTORS.create(spec)
