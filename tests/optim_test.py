"""Optimizers against NumPy and against the numbers of BYOL's authors' own."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.optim import LARS, OPTIMIZERS, SGD, CosineMomentum, learning_rate_schedule

BYOL = np.load(pathlib.Path(__file__).parent / "data" / "byol_optimizer.npz")
LARS_WEIGHTS = [key.removeprefix("lars/w/") for key in BYOL.files if key.startswith("lars/w/")]
STEPS = BYOL["schedule/steps"]


class Listed(keras.optimizers.schedules.LearningRateSchedule):
    """The rates of a list, one a step."""

    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        return tf.gather(tf.constant(self.rates, keras.config.floatx()), step)


def weights():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape)) for shape in ((5, 3), (3,), (2, 2, 3, 4))]


def gradients(step):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=w.shape) for w in weights()]


def optimized(optimizer, steps=6):
    variables = weights()
    for step in range(steps):
        optimizer.apply_gradients(zip(map(tf.constant, gradients(step)), variables))
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("exclude_1d", [False, True])
def test_sgd_equals_numpy_under_a_schedule(exclude_1d, float64):
    rates = [0.1, 0.2, 0.05, 0.3, 0.3, 0.01]
    optimizer = SGD(Listed(rates), momentum=0.9, weight_decay=0.02, exclude_1d=exclude_1d)
    expected = [v.numpy() for v in weights()]
    buffers = [np.zeros_like(w) for w in expected]
    for step, rate in enumerate(rates):
        for i, g in enumerate(gradients(step)):
            decay = 0.0 if exclude_1d and expected[i].ndim <= 1 else 0.02
            buffers[i] = 0.9 * buffers[i] + g + decay * expected[i]
            expected[i] = expected[i] - rate * buffers[i]  # the rate is outside the buffer
    for found, wanted in zip(optimized(optimizer), expected):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_lars_equals_byol(float64):
    """Convolution, dense, biases, a batch norm, a weight that starts at zero; step 7 has no gradient."""
    variables = [keras.Variable(BYOL[f"lars/w/{name}"][0]) for name in LARS_WEIGHTS]
    rate = Listed(BYOL["lars/learning_rate"])
    optimizer = LARS(rate, momentum=0.9, weight_decay=1.5e-2, trust_coefficient=1e-3)
    for step in range(20):
        gradient = [tf.constant(BYOL[f"lars/g/{name}"][step]) for name in LARS_WEIGHTS]
        optimizer.apply_gradients(zip(gradient, variables))
        for name, variable in zip(LARS_WEIGHTS, variables):
            wanted = BYOL[f"lars/w/{name}"][step + 1]
            np.testing.assert_allclose(variable, wanted, atol=1e-9, rtol=0, err_msg=f"{name}, step {step}")


def test_lars_exclusion_goes_by_rank_not_by_name():
    rate, g = 0.5, np.full((3,), 0.25, "float32")
    bias = keras.Variable(np.ones(3, "float32"), name="kernel")
    matrix = keras.Variable(np.ones((3, 1), "float32"), name="gamma")
    optimizer = LARS(rate, momentum=0.0, weight_decay=0.1, trust_coefficient=1e-3)
    optimizer.apply_gradients([(tf.constant(g), bias), (tf.constant(g[:, None]), matrix)])
    np.testing.assert_allclose(bias, 1 - rate * g)
    u = 0.25 + 0.1
    np.testing.assert_allclose(matrix, np.full((3, 1), 1 - rate * 1e-3 * (1 / u) * u), rtol=1e-6)


def test_lars_can_include_1d_parameters():
    bias = keras.Variable(np.ones(4, "float32"))
    LARS(0.5, momentum=0.0, weight_decay=0.0, exclude_1d=False).apply_gradients([(tf.ones(4), bias)])
    np.testing.assert_allclose(bias, 1 - 0.5 * 1e-3, rtol=1e-6)


@pytest.mark.parametrize("weight, gradient", [(0.0, 0.5), (0.0, 0.0)])
def test_lars_takes_zero_norms_for_ratio_one(weight, gradient):
    variable = keras.Variable(np.full((2, 2), weight, "float32"))
    LARS(0.5, weight_decay=0.1).apply_gradients([(tf.fill((2, 2), gradient), variable)])
    np.testing.assert_allclose(variable, weight - 0.5 * gradient)


@pytest.mark.parametrize("optimizer", [SGD(0.5, momentum=0.0, weight_decay=0.1), LARS(0.5, 0.0, 0.1, 1.0)])
def test_weights_decay_once(optimizer):
    """With no gradient a step is the decay alone; Keras's decoupled one would come on top."""
    variable = keras.Variable(np.full((2, 2), 3.0, "float32"))
    optimizer.apply_gradients([(tf.zeros((2, 2)), variable)])
    shrink = 0.5 * 0.1 if isinstance(optimizer, SGD) else 0.5  # LARS, trust 1: |w| / |decay w| of it
    np.testing.assert_allclose(variable, 3 * (1 - shrink), rtol=1e-6)


@pytest.mark.parametrize("spec", ["sgd(momentum=0.8, exclude_1d=True)", "lars(trust_coefficient=0.01)"])
def test_every_argument_survives_serialization(spec):
    optimizer = OPTIMIZERS.create(spec, learning_rate=0.2, weight_decay=0.03)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    assert again.get_config()["weight_decay"] == 0.03
    for found, wanted in zip(optimized(again), optimized(optimizer)):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("spec", ["sgd", "lars"])
def test_saved_in_mid_training_goes_on_equal(spec, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")

    def model():
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="ones")])
        rate = learning_rate_schedule("cosine", 0.5, total_steps=8, warmup_steps=2)
        network.compile(OPTIMIZERS.create(spec, learning_rate=rate, weight_decay=1e-3), "mse")
        return network

    whole, half = model(), model()
    whole.fit(x, y, batch_size=4, epochs=4, shuffle=False, verbose=0)
    half.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    half.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    assert loaded.optimizer.iterations == 4
    loaded.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    pairs = ([*network.weights, *network.optimizer.variables] for network in (loaded, whole))
    for found, wanted in zip(*pairs, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\). Received: momentum=1.0"),
        ({"momentum": -0.1}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay must not be negative. Received: weight_decay=-0.0001"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"trust_coefficient": 0}, "trust_coefficient must be positive. Received: trust_coefficient=0"),
    ],
)
def test_bad_arguments(values, words):
    with pytest.raises(ValueError, match=words):
        LARS(0.1, **values)


def test_cosine_rate_equals_byol():
    # 100,000 steps at batch 4096, of which the first 5,000 warm up; the base rate is 0.3 at batch 256.
    rate = learning_rate_schedule("cosine", 0.3 * 4096 / 256, total_steps=100_000, warmup_steps=5_000)
    found = [float(rate(step)) for step in STEPS]
    np.testing.assert_allclose(found, BYOL["schedule/learning_rate"], atol=1e-6)


def test_target_momentum_equals_byol():
    tau = CosineMomentum(0.99, total_steps=100_000)
    np.testing.assert_allclose([float(tau(step)) for step in STEPS], BYOL["schedule/tau"], atol=1e-6)


@pytest.mark.parametrize("warmup", [0, 4])
def test_cosine_rate_at_its_ends(warmup):
    rate = learning_rate_schedule("cosine", 2.0, total_steps=20, warmup_steps=warmup)
    values = np.array([float(rate(step)) for step in range(23)])
    rise = [2 * t / warmup for t in range(warmup)]
    fall = [1 + np.cos(np.pi * (t - warmup) / (20 - warmup)) for t in range(warmup, 21)]
    np.testing.assert_allclose(values, [*rise, *fall, 0, 0], atol=1e-6)


def test_constant_rate_after_its_warm_up():
    rate = learning_rate_schedule("constant", 2.0, total_steps=20, warmup_steps=4)
    np.testing.assert_allclose([float(rate(t)) for t in range(7)], [0, 0.5, 1, 1.5, 2, 2, 2], atol=1e-6)
    assert learning_rate_schedule("constant", 2.0, total_steps=20) == 2.0


def test_warm_up_longer_than_the_run_stays_finite():
    rate = learning_rate_schedule("cosine", 2.0, total_steps=3, warmup_steps=50)
    np.testing.assert_allclose([float(rate(t)) for t in range(4)], [0, 0.04, 0.08, 0.12], atol=1e-6)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="constant, cosine"):
        learning_rate_schedule("cosin", 2.0, total_steps=20)


def test_target_momentum_rises_to_one_and_stays():
    tau = CosineMomentum(0.9, total_steps=10)
    values = np.array([float(tau(step)) for step in range(14)])
    assert values[0] == pytest.approx(0.9) and np.all(np.diff(values[:11]) > 0)
    np.testing.assert_allclose(values[10:], 1)


def test_target_momentum_serializes():
    tau = CosineMomentum(0.9, total_steps=10)
    written = json.dumps(keras.saving.serialize_keras_object(tau))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert float(again(3)) == float(tau(3))


def test_target_momentum_base_is_checked():
    with pytest.raises(ValueError, match=r"base must lie in \[0, 1\]. Received: base=1.5"):
        CosineMomentum(1.5, 10)
