"""LARS in its three conventions against NumPy; with clipping, mixed precision, accumulation, resume, two devices."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from strategy_equivalence_test import finish, start

from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS, learning_rate_schedule
from tf_directpred.predictors import PREDICTORS

TRUST, DECAY, MOMENTUM, STEPS = 0.02, 0.05, 0.9, 7
SHAPES = {"dense": (5, 3), "conv": (2, 2, 3, 4), "bias": (3,), "scalar": (), "zero": (4, 2)}


def weights():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) * (name != "zero") for name, shape in SHAPES.items()}


def gradients(step):
    """Step 2 has none at all; the weight that starts at zero first sees one at step 4."""
    rng = np.random.default_rng(10 + step)
    scale = {name: step != 2 and (name != "zero" or step >= 4) for name in SHAPES}
    return {name: rng.normal(size=shape) * scale[name] for name, shape in SHAPES.items()}


def rate(step):
    """Warm-up from 0, then falling: what sets the conventions apart."""
    return 0.4 * step / 2 if step < 2 else 0.4 / (step - 1)


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.gather(tf.constant([rate(k) for k in range(STEPS + 1)], keras.config.floatx()), step)

    def get_config(self):
        return {}


def numpy_lars(convention, steps=STEPS, clipnorm=None):
    found = weights()
    buffers = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    norm = np.linalg.norm
    for step in range(steps):
        lr = rate(step)
        for name, g in gradients(step).items():
            w = found[name]
            if clipnorm and norm(g) > clipnorm:
                g = g * clipnorm / norm(g)
            u, r = g, 1.0
            if w.ndim > 1:
                if convention == "apex":
                    if norm(w) and norm(g):
                        r = TRUST * norm(w) / (norm(g) + DECAY * norm(w) + 1e-8)
                        r = min(r / lr, 1.0) if lr else 1.0
                        u = g + DECAY * w
                else:
                    u = g + DECAY * w
                    r = TRUST * norm(w) / norm(u) if norm(w) and norm(u) else 1.0
            if convention == "simclr":
                buffers[name] = MOMENTUM * buffers[name] + lr * r * u
                found[name] = w - buffers[name]
            else:
                buffers[name] = MOMENTUM * buffers[name] + r * u
                found[name] = w - lr * buffers[name]
    return found


def keras_lars(convention, steps=STEPS, **kwargs):
    variables = {name: keras.Variable(w, name=name) for name, w in weights().items()}
    optimizer = LARS(Rates(), MOMENTUM, DECAY, TRUST, convention=convention, **kwargs)
    advance(optimizer, variables, 0, steps)
    return optimizer, variables


def advance(optimizer, variables, start_step, end):
    for step in range(start_step, end):
        g = gradients(step)
        optimizer.apply_gradients([(tf.constant(g[n], v.dtype), v) for n, v in variables.items()])


def assert_equal(variables, wanted, **tolerance):
    for name, w in wanted.items():
        np.testing.assert_allclose(variables[name], w, err_msg=name, **tolerance)


@pytest.mark.parametrize("clipnorm", [None, 0.7])
@pytest.mark.parametrize("convention", LARS.CONVENTIONS)
def test_equals_numpy(convention, clipnorm, float64):
    _, variables = keras_lars(convention, clipnorm=clipnorm)
    assert_equal(variables, numpy_lars(convention, clipnorm=clipnorm), rtol=1e-12, atol=1e-13)


def test_the_conventions_differ():
    one, two, three = (numpy_lars(convention)["dense"] for convention in LARS.CONVENTIONS)
    assert min(np.abs(one - two).max(), np.abs(one - three).max(), np.abs(two - three).max()) > 1e-3


@pytest.mark.parametrize("convention", LARS.CONVENTIONS)
def test_saved_and_resumed(convention, float64):
    optimizer, variables = keras_lars(convention, steps=3)
    resumed = LARS.from_config({**json.loads(json.dumps(optimizer.get_config())), "learning_rate": 0.1})
    assert (resumed.convention, resumed.trust_coefficient) == (convention, TRUST)
    assert resumed.rate_inside == (convention == "simclr")
    resumed = LARS(Rates(), MOMENTUM, DECAY, TRUST, convention=convention)
    resumed.build(list(variables.values()))
    for there, here in zip(resumed.variables, optimizer.variables, strict=True):
        there.assign(here)
    advance(resumed, variables, 3, STEPS)
    assert_equal(variables, numpy_lars(convention), rtol=1e-12, atol=1e-13)


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="convention must be one of byol, simclr, apex. Received: convention='torch'"):
        LARS(convention="torch")


def model_with(accumulate=1, dtype="float32"):
    """Batch norm is left out: its statistics would be those of a slice."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype)
    x = keras.Input((6,))
    encoder = keras.Model(x, keras.layers.Dense(8, activation="tanh")(x))
    y = keras.Input((8,))
    predictor = PREDICTORS.create("directpred(update_every=2, train_kernel=True)")
    model = NonContrastive(
        encoder, keras.Model(y, keras.layers.Dense(4)(y)), predictor, target_momentum=0.9, accumulate=accumulate
    )
    model.compile(LARS(learning_rate_schedule("cosine", 1.0, 10, 2), weight_decay=0.01, trust_coefficient=0.05))
    return model


def steps_of(model, steps=5):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        model.train_on_batch({k: rng.normal(size=(12, 6)) for k in ("view1", "view2")})
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


def test_accumulated_equals_the_large_batch(float64):
    whole = steps_of(model_with(dtype="float64"))
    for k in (2, 3):
        for a, b in zip(whole, steps_of(model_with(k, dtype="float64")), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_norms_and_state_in_float32(policy):
    full = steps_of(model_with())
    try:
        model = model_with(dtype=policy)
        mixed = steps_of(model)
    finally:
        keras.config.set_dtype_policy("float32")
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert isinstance(inner, LARS) and {str(b.dtype) for b in inner.buffers} == {"float32"}
    assert all(np.isfinite(a).all() for a in mixed)
    for a, b in zip(full[:4], mixed[:4]):  # the online weights: near what float32 makes of them
        assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(a)


def test_under_two_devices_as_on_one(tmp_path):
    """Schedules, decay and 1-D parameters of every convention; `byol_lars` is in strategy_equivalence_test."""
    out = tmp_path / "arrays.npz"
    finish(start(out, strategies=["default", "mirrored"], devices=2, cases=["linear_simclr", "linear_apex"]))
    arrays = np.load(out)
    keys = [key for key in arrays if key.startswith("default/")]
    assert len(keys) > 80
    for key in keys:
        there = arrays[key.replace("default/", "mirrored/")]
        np.testing.assert_allclose(there, arrays[key], atol=1e-10 if "float64" in key else 1e-5, err_msg=key)
