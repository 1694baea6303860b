"""Whole training steps against the DirectPred authors' own trainer: weights after each of twelve steps."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import SGD
from tf_directpred.predictors import PREDICTORS

OFFICIAL = np.load(pathlib.Path(__file__).parent / "data" / "official.npz")
PREDICTOR_SPECS = {
    "byol_mlp": "mlp(hidden=16)",
    "byol_linear": "linear",
    "byol_linear_bias": "linear(bias=True)",
    "symmetric": "linear(symmetric=True)",
    "directpred_freq1": "directpred(rho=0.3, epsilon=0.01)",
    "directpred_freq5": "directpred(rho=0.5, epsilon=0.1, update_every=5, train_kernel=True)",
    "directpred_zeromean_bias": "directpred(rho=0.8, epsilon=0.1, center=True, use_bias=True)",
    "directpred_dynbn": "directpred(rho=0.3, epsilon=0.1)",
    "directcopy": "directcopy(rho=0.5, epsilon=0.3, norm='none')",
}


def network(output_norm):
    norm = {"momentum": 0.9, "epsilon": 1e-5}
    plain = {**norm, "center": False, "scale": False}
    x = keras.Input((12,))
    h = keras.layers.Dense(16, use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization(**norm)(h))
    encoder = keras.Model(x, y)
    y = keras.Input((16,))
    h = keras.layers.ReLU()(keras.layers.BatchNormalization(**plain)(keras.layers.Dense(16)(y)))
    z = keras.layers.Dense(8)(h)
    return encoder, keras.Model(y, keras.layers.BatchNormalization(**plain)(z) if output_norm else z)


def parameters(mode, branch, step):
    """Parameters of the authors' network in Keras's order and orientation, running statistics left out."""
    prefix = f"e2e/{mode}/{branch}."
    keys = [k for k in OFFICIAL.files if k.startswith(prefix) and "running" not in k]
    return [OFFICIAL[k][step].T for k in keys]


def trained(variables):
    return [v for v in variables if "moving" not in v.path]


@pytest.mark.parametrize("mode", PREDICTOR_SPECS)
def test_twelve_steps_equal_the_authors(mode, float64):
    encoder, projector = network(output_norm=mode == "directpred_dynbn")
    predictor = PREDICTORS.create(PREDICTOR_SPECS[mode])
    model = NonContrastive(encoder, projector, predictor, target_momentum=0.996)
    model.compile(optimizer=SGD(0.03, momentum=0.9, weight_decay=4e-4))
    parts = {"online": model.online, "target": model.target, "predictor": predictor}

    def weights_of(branch):
        if branch == "predictor" and hasattr(predictor, "correlation"):
            return [predictor.kernel] + ([predictor.bias] if predictor.use_bias else [])
        return trained(parts[branch].weights)

    for branch in parts:
        for variable, value in zip(weights_of(branch), parameters(mode, branch, 0), strict=True):
            variable.assign(value)
    for step, size in enumerate(OFFICIAL["e2e/batch_sizes"]):
        views = {"view1": OFFICIAL["e2e/x1"][step, :size], "view2": OFFICIAL["e2e/x2"][step, :size]}
        loss = model.train_on_batch(views)
        np.testing.assert_allclose(loss, OFFICIAL[f"e2e/{mode}/loss"][step], atol=1e-9)
        model.reset_metrics()
        if f"e2e/{mode}/F" in OFFICIAL.files:
            np.testing.assert_allclose(predictor.correlation, OFFICIAL[f"e2e/{mode}/F"][step], atol=1e-8)
        for branch in parts:
            for variable, value in zip(weights_of(branch), parameters(mode, branch, step + 1), strict=True):
                np.testing.assert_allclose(variable, value, atol=1e-8, err_msg=f"{branch} {variable.path} {step}")
