"""Gradient accumulation: k slices, one step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS, SGD, CosineMomentum
from tf_directpred.predictors import PREDICTORS


def network(frozen_batch_norm):
    x = keras.Input((6,))
    h = keras.layers.Dense(8)(x)
    norm = keras.layers.BatchNormalization()
    y = keras.layers.ReLU()(norm(h))
    encoder = keras.Model(x, y)
    norm.trainable = not frozen_batch_norm
    y = keras.Input((8,))
    return encoder, keras.Model(y, keras.layers.Dense(4)(y))


def model_with(accumulate, predictor="directpred", optimizer=None, frozen_batch_norm=True, **kwargs):
    keras.utils.set_random_seed(0)
    kwargs = {"target_momentum": CosineMomentum(0.5, 20), **kwargs}
    model = NonContrastive(*network(frozen_batch_norm), PREDICTORS.create(predictor), accumulate=accumulate, **kwargs)
    model.compile(optimizer or SGD(0.1, weight_decay=0.01))
    return model


def views(step, size=12, scale=1.0):
    rng = np.random.default_rng(step)
    return {k: (scale * rng.normal(size=(size, 6))).astype(keras.config.floatx()) for k in ("view1", "view2")}


def state(model):
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


CASES = {
    "directpred": {},
    "hybrid, LARS": {"predictor": "directpred(update_every=2, train_kernel=True)", "optimizer": LARS},
    "optimal, one direction": {"predictor": "optimal", "symmetrize": False},
    "centred": {"predictor": "directcopy(center=True)"},
    "SimSiam": {"predictor": "linear", "target": None},
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_large_batch(case, float64):
    settings = dict(CASES[case])
    make = settings.pop("optimizer", lambda: SGD(0.1, weight_decay=0.01))
    whole, parts = (model_with(k, optimizer=make(), **settings) for k in (1, 3))
    for step in range(4):
        for model in (whole, parts):
            model.reset_metrics()
        losses = [float(model.train_on_batch(views(step))) for model in (whole, parts)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
        for a, b in zip(state(whole), state(parts), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_everything_moves_once_a_step():
    calls = []

    class Counting(PREDICTORS["directpred"]):
        def update(self, online, target):
            calls.append([tuple(z.shape) for z in (*online, *target)])
            super().update(online, target)

    keras.utils.set_random_seed(0)
    model = NonContrastive(*network(False), Counting(), target_momentum=0.5, accumulate=4)
    model.compile(SGD(0.1), run_eagerly=True)
    before = model.target.trainable_variables[0].numpy()
    model.train_on_batch(views(0))
    assert calls == [[(12, 4)] * 4]  # of all slices together
    assert int(model.optimizer.iterations) == 1 and int(model.predictor.step) == 1
    online = model.online.trainable_variables[0].numpy()
    np.testing.assert_allclose(model.target.trainable_variables[0], (before + online) / 2, rtol=1e-6)


def test_batch_norm_sees_slices():
    moved = []
    for k in (1, 2):
        model = model_with(k, frozen_batch_norm=False)
        norm = next(layer for layer in model.encoder.layers if "batch" in layer.name)
        model.train_on_batch(views(0))
        moved.append(norm.moving_mean.numpy())
    # 2 views a batch, 0.99 of the past each: four moves instead of two.
    np.testing.assert_allclose(moved[1] / moved[0], (1 - 0.99**4) / (1 - 0.99**2), rtol=0.02)


def test_a_skipped_step_moves_nothing():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = model_with(2)
    finally:
        keras.config.set_dtype_policy("float32")
    model.train_on_batch(views(0))
    before = [v.numpy() for v in model.variables if "seed" not in v.path]
    bad = views(1)
    bad["view1"][-1] = 6e4  # overflows in the last slice only
    model.train_on_batch(bad)
    assert int(model.optimizer.inner_optimizer.iterations) == 1
    for variable, value in zip([v for v in model.variables if "seed" not in v.path], before, strict=True):
        if not {"moving_mean", "moving_variance", "total", "count"} & set(variable.path.split("/")):
            np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of accumulate=5. Received: 12"):
        model_with(5).train_on_batch(views(0))


@pytest.mark.parametrize("accumulate", [0, 1.5])
def test_accumulate_is_a_positive_integer(accumulate):
    with pytest.raises(ValueError, match="accumulate must be an integer >= 1"):
        model_with(accumulate)


def test_the_optimizers_own_accumulation_is_refused():
    with pytest.raises(ValueError, match=r"NonContrastive\(accumulate=4\) takes its place"):
        model_with(1, optimizer=keras.optimizers.SGD(gradient_accumulation_steps=4))


def test_it_survives_saving(tmp_path):
    model = model_with(3)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").accumulate == 3


def test_compiled_by_xla(float64):
    plain, compiled = model_with(2, "directcopy"), model_with(2, "directcopy")  # XLA has an eigh of its own
    compiled.compile(SGD(0.1, weight_decay=0.01), jit_compile=True)
    for step in range(2):
        for model in (plain, compiled):
            model.train_on_batch(views(step))
    for a, b in zip(state(plain), state(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
