"""Formulas, options, moving averages and linear runs against numbers of the DirectPred authors' code."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.losses import LOSSES
from tf_directpred.predictors import PREDICTORS

OFFICIAL = np.load(pathlib.Path(__file__).parent / "data" / "official.npz")
KINDS = ("full", "lowrank", "neariso", "dominant")
# Largest difference of an entry: what rounding costs an eigendecomposition; a root of a zero eigenvalue most.
FLOAT32 = {"full": 7e-7, "neariso": 7e-7, "dominant": 6e-6, "lowrank": 2e-4}
GRID_SPECS = {
    "directpred": "directpred(epsilon={})",
    "directpred_epsinside": "directpred(epsilon={}, epsilon_inside=True)",
    "directcopy": "directcopy(epsilon={}, norm='none')",
}


@pytest.mark.parametrize("formula", GRID_SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_the_grid(formula, kind):
    for d in (4, 16, 64):
        f = OFFICIAL[f"grid/F/{kind}/d{d}"]
        for epsilon in ("0", "0.01", "0.1"):
            expected = OFFICIAL[f"grid/{formula}/{kind}/d{d}/eps{epsilon}"]
            layer = PREDICTORS.create(GRID_SPECS[formula].format(epsilon))
            exact = layer.solve(tf.constant(f))
            np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-7 if kind == "lowrank" else 1e-11)
            single = layer.solve(tf.constant(f, "float32"))
            assert single.dtype == tf.float32
            np.testing.assert_allclose(single, expected, rtol=0, atol=FLOAT32[kind])


F, MEAN, W0 = (OFFICIAL[f"opt/in/{name}"] for name in ("F", "mean1", "W0"))


@pytest.mark.parametrize(
    "name, spec, f, tolerance",
    [
        ("boost_convert1_eps0.1", "directpred(epsilon=0.1, exponent=1.0)", F, 1e-11),
        ("boost_convert3_eps0.1", "directpred(epsilon=0.1, exponent=1/3)", F, 1e-11),
        ("boost_convert4_epsinside0.1", "directpred(epsilon=0.1, epsilon_inside=True, exponent=0.25)", F, 1e-11),
        ("boost_eps-0.3", "directpred(epsilon=-0.3)", F, 1e-11),
        ("boost_epsinside-0.3", "directpred(epsilon=-0.3, epsilon_inside=True)", F, 1e-11),
        ("boost_noeig_eps0.1_float32", "directpred(epsilon=0.1, solver='diagonal')", F, 1e-6),
        ("boost_zeromean_eps0.1", "directpred(epsilon=0.1, center=True)", F, 1e-11),
        ("direct_zeromean_eps0.1", "directcopy(epsilon=0.1, norm='none', center=True)", F, 1e-8),
    ],
)
def test_options(name, spec, f, tolerance):
    if "1/3" in spec:
        layer = PREDICTORS["directpred"](epsilon=0.1, exponent=1 / 3)
    else:
        layer = PREDICTORS.create(spec)
    kernel = layer.kernel_of(tf.constant(f), tf.constant(MEAN) if layer.center else None)
    np.testing.assert_allclose(kernel, OFFICIAL[f"opt/out/{name}"], atol=tolerance)


@pytest.mark.parametrize("name, spec", [("symmetric", "linear(symmetric=True)"), ("diagonal", "diagonal")])
def test_constrained_kernels(name, spec, float64):
    layer = PREDICTORS.create(spec)
    layer.build((None, 16))
    layer.kernel.assign(W0.T)
    layer.update(online=(), target=())
    np.testing.assert_allclose(tf.transpose(layer.kernel), OFFICIAL[f"opt/out/{name}"], atol=1e-15)


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.8, None])
def test_moving_averages_and_losses(rho, float64):
    layer = PREDICTORS.create(f"directpred(rho={rho}, epsilon=0.01, center=False)")
    centred = PREDICTORS.create(f"directpred(rho={rho}, epsilon=0.01, center=True)")
    layer.build((None, 8))
    centred.build((None, 8))
    layer.kernel.assign(OFFICIAL["ema/W0"].T)
    loss_fn = LOSSES.create("cosine")
    mix = OFFICIAL["ema/target_mix"]
    for step, views in enumerate(zip(OFFICIAL["ema/view1"], OFFICIAL["ema/view2"])):
        z1, z2 = map(tf.constant, views)
        t1, t2 = z1 @ mix, z2 @ mix
        loss = tf.reduce_mean(loss_fn(layer(z1), t2, z1) + loss_fn(layer(z2), t1, z2))
        for predictor in (layer, centred):
            predictor.update(online=(z1, z2), target=(t2, t1))
        expected = {key: OFFICIAL[f"ema/rho{rho}/{key}"][step] for key in ("F", "mean1", "loss", "Wp")}
        np.testing.assert_allclose(loss, expected["loss"], atol=1e-11)
        np.testing.assert_allclose(layer.correlation, expected["F"], atol=1e-11)
        np.testing.assert_allclose(layer.kernel, expected["Wp"], atol=1e-7)
        np.testing.assert_allclose(centred.mean, expected["mean1"], atol=1e-11)


def test_loss_of_one_direction():
    pred, target = OFFICIAL["loss/pred"], OFFICIAL["loss/target"]
    for spec, key in (("cosine", "per_sample_l2"), ("euclidean", "per_sample_nol2")):
        loss = LOSSES.create(spec)(tf.constant(pred), tf.constant(target), tf.constant(pred))
        np.testing.assert_allclose(loss, OFFICIAL[f"loss/{key}"], atol=1e-12)
