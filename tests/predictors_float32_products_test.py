"""Products in true float32 where the device rounds the factors: here a device that does is simulated."""

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.predictors import PREDICTORS, closed_form, float32_products, matrix_products

TRUE_MATMUL = tf.matmul


class Rounding:
    """TensorFlow, but for a `matmul` that rounds float32 factors to bfloat16, as a TPU does."""

    def __getattr__(self, name):
        return getattr(tf, name)

    def matmul(self, a, b, **kwargs):
        if a.dtype == tf.float32:
            a, b = (tf.cast(tf.cast(x, tf.bfloat16), tf.float32) for x in (a, b))
        return TRUE_MATMUL(a, b, **kwargs)


@pytest.fixture
def rounding_device(monkeypatch):
    monkeypatch.setattr(float32_products, "tf", Rounding())
    monkeypatch.setattr(float32_products, "rounds_factors", lambda: True)


def relative(found, wanted):
    return np.abs(np.asarray(found, "float64") - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("compiled", [False, True])
def test_products_are_float32_on_a_device_that_rounds(scale, compiled, rounding_device):
    rng = np.random.default_rng(0)
    x, y = (scale * rng.normal(size=(64, 48)).astype("float32") for _ in range(2))
    product = tf.function(float32_products.matmul, jit_compile=compiled)
    wanted = x.astype("float64").T @ y.astype("float64")
    assert relative(product(tf.constant(x), tf.constant(y), transpose_a=True), wanted) < 1e-6
    assert relative(Rounding().matmul(tf.constant(x), tf.constant(y), transpose_a=True), wanted) > 5e-4


def test_without_such_a_device_there_is_one_product():
    if float32_products.rounds_factors():
        pytest.skip("has such a device")
    concrete = tf.function(float32_products.matmul).get_concrete_function(tf.zeros((3, 2)), tf.zeros((2, 3)))
    assert [op.type for op in concrete.graph.get_operations()].count("MatMul") == 1


def test_parts_sum_to_the_whole_and_fit_in_bfloat16():
    x = tf.constant(np.random.default_rng(0).normal(size=100) * np.logspace(-20, 20, 100), tf.float32)
    parts = float32_products._parts(x)
    np.testing.assert_array_equal(tf.add_n([tf.cast(part, tf.float64) for part in parts]), tf.cast(x, tf.float64))
    for part in parts:
        np.testing.assert_array_equal(tf.cast(tf.cast(part, tf.bfloat16), tf.float32), part)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(value, rounding_device):
    product = float32_products.matmul(tf.constant([[value, 1.0]]), tf.constant([[1.0], [1.0]]))
    assert not np.isfinite(product).any()


@pytest.mark.parametrize("spec", ["directpred(solver='newton_schulz')", "directcopy"])
def test_correlation_and_solver_use_them(spec, rounding_device):
    """A 0.1 % eigenvalue, lost when factors are rounded, survives update and solve."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    z = (rng.normal(size=(512, 16)) * np.sqrt(np.logspace(0, -3, 16)) @ basis).astype("float32")
    kernels = []
    for dtype in ("float32", "float64"):
        layer = PREDICTORS.create(spec)
        layer = type(layer).from_config({**layer.get_config(), "dtype": dtype})
        layer.build((None, 16))
        layer.update(online=(tf.constant(z, dtype),), target=(tf.constant(z, dtype),))
        kernels.append(np.asarray(layer.kernel, "float64"))
    assert relative(kernels[0], kernels[1]) < 1e-4


def test_no_other_product_of_float32_in_update_or_solver():
    for module in (closed_form, matrix_products):
        assert module.matmul is float32_products.matmul
