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


LINEAR_SPECS = {"sgd": "linear", "symmetric": "linear(symmetric=True)", "directpred": "directpred(rho=0.3, epsilon=0.01)"}


@pytest.mark.parametrize("mode", LINEAR_SPECS)
def test_three_hundred_steps_of_linear_networks(mode, float64):
    x1, x2 = OFFICIAL["linear_official/x1"], OFFICIAL["linear_official/x2"]
    runs = {name: OFFICIAL[f"linear_official/{mode}/{name}"] for name in ("W", "Wa", "Wp", "loss")}
    x = keras.Input((6,))
    encoder = keras.Model(x, keras.layers.Dense(4, use_bias=False)(x))
    predictor = PREDICTORS.create(LINEAR_SPECS[mode])
    model = NonContrastive(encoder, None, predictor, target_momentum=0.99, loss="euclidean")
    model.compile(optimizer=SGD(0.02, momentum=0.0, weight_decay=0.01))
    for variable, name in ((model.online.weights[0], "W"), (model.target.weights[0], "Wa"), (predictor.kernel, "Wp")):
        variable.assign(runs[name][0].T)
    views = tf.data.Dataset.from_tensors({"view1": x1, "view2": x2}).repeat()
    for part in range(1, 16):  # weights were kept every 20 steps
        losses = []
        record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))
        model.fit(views, epochs=20, steps_per_epoch=1, verbose=0, callbacks=[record])
        np.testing.assert_allclose(losses, runs["loss"][20 * (part - 1) : 20 * part], atol=1e-9)
        for variable, name in ((model.online.weights[0], "W"), (model.target.weights[0], "Wa"), (predictor.kernel, "Wp")):
            np.testing.assert_allclose(variable, runs[name][part].T, atol=1e-8)
