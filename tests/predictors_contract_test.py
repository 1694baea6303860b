"""What every predictor promises; a new one is tested by being registered."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.predictors import PREDICTORS, ClosedFormPredictor

D = 6
NAMES = PREDICTORS.names()
CLOSED_FORMS = [name for name in NAMES if issubclass(PREDICTORS[name], ClosedFormPredictor)]
VARIANTS = ["directpred(solver='newton_schulz')", "directpred(update_every=2, center=True, use_bias=True)"]
SPECS = [*NAMES, *VARIANTS]


def views(seed=0, dtype="float32"):
    """Projections and targets of both directions, as `update` takes them."""
    rng = np.random.default_rng(seed)
    z1, z2, t1, t2 = (tf.constant(rng.normal(1, 2, (16, D)), dtype) for _ in range(4))
    return (z1, z2), (t2, t1)


def built(spec, seed=0, **options):
    keras.utils.set_random_seed(seed)
    layer = PREDICTORS.create(spec) if "(" in spec else PREDICTORS[spec](**options)
    layer.build((None, D))
    return layer


def disturbed(layer, seed=0):
    """Moves the trained weights, as an optimizer would."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign_add(rng.normal(size=variable.shape))
    return layer


def values(layer):
    return [np.array(v) for v in layer.variables]


def assert_same(layer, expected, rtol=0, atol=0):
    for variable, value in zip(layer.variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol, atol, err_msg=variable.path)


@pytest.mark.parametrize("spec", SPECS)
def test_call_changes_nothing(spec):
    layer = disturbed(built(spec))
    (z, _), _ = views()
    before = values(layer)
    p = layer(z, training=False)
    assert p.shape == z.shape and layer.compute_output_shape(z.shape) == z.shape
    np.testing.assert_array_equal(layer(z, training=False), p)
    assert_same(layer, before)
    layer(z, training=True)
    for variable, value in zip(layer.variables, before):
        if "moving" not in variable.path:  # batch norm inside a trained predictor is that of any layer
            np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_does_not_touch_it(name):
    images = keras.Input((D,))
    model = NonContrastive(keras.Model(images, keras.layers.Dense(D)(images)), predictor=name)
    model.compile("sgd", run_eagerly=True)
    (x1, x2), (x3, x4) = views()
    model.train_on_batch({"view1": x1, "view2": x2})
    before = values(model.predictor)
    model.test_on_batch({"view1": x3, "view2": x4})
    assert_same(model.predictor, before)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "jit"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_compiled_update_equals_the_eager_one(spec, jit_compile):
    eager, compiled = (disturbed(built(spec)) for _ in range(2))
    update = tf.function(compiled.update, autograph=False, jit_compile=jit_compile)
    for step in range(3):
        online, target = views(step)
        eager.update(online=online, target=target)
        update(online=online, target=target)
        assert_same(compiled, values(eager), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_one_direction_of_the_loss_is_enough(name):
    layer = built(name)
    (z1, _), (t2, _) = views()
    layer.update(online=(z1,), target=(t2,))
    if name in CLOSED_FORMS:
        np.testing.assert_allclose(layer.correlation, np.transpose(z1) @ z1 / 16, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_that_is_not_finite_leaves_everything(name):
    spoiled, reference = built(name), built(name)
    for step in range(3):
        online, target = views(step)
        for value in (np.nan, np.inf, 1e30):  # whose square is infinite
            mask = np.zeros((16, D), "float32")
            mask[3, 2] = value
            before = values(spoiled)
            spoiled.update(online=(online[0] + mask, online[1]), target=target)
            assert_same(spoiled, before)
        for layer in (spoiled, reference):
            layer.update(online=online, target=target)
        assert_same(spoiled, values(reference))


def options_of(name):
    """Each switch and number that a predictor takes, with another value than its default."""
    for parameter in inspect.signature(PREDICTORS[name]).parameters.values():
        default = parameter.default
        if isinstance(default, bool):
            yield name, {parameter.name: not default}
        elif isinstance(default, (int, float)):
            yield name, {parameter.name: 2 * default + 1 if isinstance(default, int) else default / 2}


CHOICES = [
    ("directpred", {"solver": "newton_schulz"}),
    ("directpred", {"rho": None}),
    ("directset", {"norm": "max"}),
    ("linear", {"init": "torch"}),
    ("diagonal", {"init": "glorot"}),
    ("mlp", {"init": "torch"}),
]


DEFAULTS = [(name, {}) for name in NAMES]
OTHERS = [case for name in NAMES for case in options_of(name)]


@pytest.mark.parametrize("name, options", [*DEFAULTS, *OTHERS, *CHOICES])
def test_configuration_survives_serialization(name, options):
    layer = PREDICTORS[name](**options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    for key, value in options.items():
        assert again.get_config()[key] == value == getattr(again, key)


@pytest.mark.parametrize("spec", SPECS)
def test_saved_weights_go_on_equal(spec, tmp_path):
    def network(seed):
        layer = built(spec, seed)
        return keras.Sequential([keras.Input((D,)), layer]), layer

    model, layer = network(0)
    disturbed(layer)
    for step in range(2):
        online, target = views(step)
        layer.update(online=online, target=target)
    model.save_weights(tmp_path / "a.weights.h5")
    fresh, restored = network(1)
    fresh.load_weights(tmp_path / "a.weights.h5")
    assert_same(restored, values(layer))
    online, target = views(2)
    for each in (layer, restored):
        each.update(online=online, target=target)
    assert_same(restored, values(layer))


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_what_is_computed_is_not_trained(name):
    assert built(name).trainable_weights == []
    hybrid = built(name, use_bias=True, train_kernel=True)
    assert [v.name for v in hybrid.trainable_weights] == ["kernel", "bias"]
    layer = built(name)
    layer.trainable = False
    layer.trainable = True
    assert layer.trainable_weights == []


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", NAMES)
def test_state_is_float32_under_mixed_precision(name, policy):
    mixed, full = built(name, dtype=policy), built(name)
    for step in range(2):
        online, target = ([tf.cast(v, mixed.compute_dtype) for v in vs] for vs in views(step))
        p = mixed(online[0])
        assert p.dtype == mixed.compute_dtype
        exact = full(tf.cast(online[0], "float32"))
        np.testing.assert_allclose(tf.cast(p, "float32"), exact, rtol=0.05, atol=0.05)
        mixed.update(online=online, target=target)
        full.update(*([tf.cast(v, "float32") for v in vs] for vs in (online, target)))
    assert {v.dtype for v in mixed.variables} <= {"float32", "int64"}
    # Rounding to bfloat16 or float16 on the way would cost 1e-3.
    assert_same(mixed, values(full), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_float64(name, float64):
    layer = built(name)
    online, target = views(dtype="float64")
    assert layer(online[0]).dtype == "float64"
    layer.update(online=online, target=target)
    assert {v.dtype for v in layer.variables} <= {"float64", "int64"}
    if name in CLOSED_FORMS:
        z = np.concatenate(online)
        np.testing.assert_allclose(layer.correlation, z.T @ z / 32, rtol=1e-13, atol=1e-13)
