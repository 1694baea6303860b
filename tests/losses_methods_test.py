"""The losses of IsoLoss, SimCLR and output batch normalisation, against NumPy and by their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.losses import LOSSES


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive_definite(d):
    q = np.linalg.qr(normal(d, d, seed=1))[0]
    return (q * np.linspace(0.2, 1.3, d)) @ q.T


@pytest.mark.parametrize("form, plain", [("cosine", "cosine"), ("euclidean", "euclidean")])
def test_isoloss_gradient_is_that_of_the_plain_loss_without_the_predictor(form, plain):
    """Halvagal et al. 2023: W_p^-1 times the gradient, each mode at the same rate."""
    w_p, z, t = positive_definite(5), tf.constant(normal(6, 5)), tf.constant(normal(6, 5, seed=2))

    def gradient(spec):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = LOSSES.create(spec)(tf.matmul(z, w_p), t, z)
        return tape.gradient(loss, z).numpy()

    expected = gradient(plain) @ np.linalg.inv(w_p)
    np.testing.assert_allclose(gradient(f"isoloss(form='{form}')"), expected, rtol=1e-10)


def test_isoloss_values():
    w_p, z, t = positive_definite(5), normal(6, 5), normal(6, 5, seed=2)
    p = z @ w_p
    p_norm, t_norm = np.linalg.norm(p, axis=1), np.linalg.norm(t, axis=1)
    zt, pt, pz = (np.sum(a * b, axis=1) for a, b in ((z, t), (p, t), (p, z)))
    sim = zt / (p_norm * t_norm) - pt * pz / (2 * p_norm**3 * t_norm)
    arguments = [tf.constant(v) for v in (p, t, z)]
    np.testing.assert_allclose(LOSSES.create("isoloss")(*arguments), -2 * sim, rtol=1e-12)
    euclidean = LOSSES.create("isoloss(form='euclidean')")(*arguments)
    np.testing.assert_allclose(euclidean, np.sum((p - t) ** 2, 1), rtol=1e-12)


def brute_force_nt_xent(p, t, temperature):
    """Chen et al. 2020, eq. 1, for the rows of p: the positive over itself and 2B - 2 negatives."""
    p, t = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (p, t))
    losses = []
    for i in range(len(p)):
        others = [*(t[j] for j in range(len(t)) if j != i), *(p[j] for j in range(len(p)) if j != i)]
        assert len(others) == 2 * len(p) - 2
        positive, *negatives = [np.exp(p[i] @ v / temperature) for v in (t[i], *others)]
        losses.append(-np.log(positive / (positive + sum(negatives))))
    return losses


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_nt_xent_equals_brute_force(n, temperature):
    p, t = 3 * normal(n, 4), normal(n, 4, seed=2)
    loss_fn = LOSSES.create(f"nt_xent(temperature={temperature})")
    loss = loss_fn(tf.constant(p), tf.constant(t), tf.constant(p))
    np.testing.assert_allclose(loss, brute_force_nt_xent(p, t, temperature), rtol=1e-10, atol=1e-12)
    single = [tf.constant(v, "float32") for v in (p, t, p)]
    np.testing.assert_allclose(loss_fn(*single), loss, rtol=1e-4, atol=1e-5)


def standardized(x, epsilon):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + epsilon)


@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.5])
def test_batch_normalized_equals_numpy(epsilon):
    p, t = 2 * normal(9, 4) + 3, normal(9, 4, seed=2)
    loss_fn = LOSSES.create(f"batch_normalized(epsilon={epsilon})")
    loss = loss_fn(tf.constant(p), tf.constant(t), tf.constant(p))
    expected = np.sum((standardized(p, epsilon) - standardized(t, epsilon)) ** 2, 1) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_batch_normalized_is_the_sum_of_correlations():
    """Its mean is d - sum_j corr_j, blind to each side's scale and shift."""
    p, t = normal(9, 4), normal(9, 4, seed=2)
    correlations = [np.corrcoef(p[:, j], t[:, j])[0, 1] for j in range(4)]
    loss_fn = LOSSES.create("batch_normalized(epsilon=0)")
    for prediction, target in ((p, t), (p * [1, 2, 3, 4] - 5, 0.1 * t + 7)):
        loss = loss_fn(tf.constant(prediction), tf.constant(target), tf.constant(prediction))
        assert np.mean(loss) == pytest.approx(4 - sum(correlations), rel=1e-10)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("spec", [*LOSSES.names(), "isoloss(form='euclidean')"])
def test_zeros_have_finite_values_and_gradients(spec, dtype):
    """A collapsed batch, or one dead row, must not turn into NaN."""
    x = normal(6, 4)
    row, collapsed = x.copy(), np.ones_like(x)
    row[2] = 0
    none = 0 * x
    cases = [(row, x), (x, row), (none, x), (x, none), (none, none), (1e-13 * x, x), (collapsed, collapsed)]
    for p, t in cases:
        p, t = tf.constant(p, dtype), tf.constant(t, dtype)
        with tf.GradientTape() as tape:
            tape.watch([p, t])
            loss = LOSSES.create(spec)(p, t, p)
        assert loss.shape == (6,)
        for value in (loss, *tape.gradient(loss, [p, t], unconnected_gradients="zero")):
            assert np.all(np.isfinite(tf.cast(value, "float64")))


@pytest.mark.parametrize("spec", ["isoloss", "isoloss(form='euclidean')", "nt_xent", "batch_normalized"])
def test_half_precision_is_computed_in_float32(spec):
    p, t, z = (tf.cast(300 * normal(6, 256, seed=s), "float16") for s in range(3))
    loss = LOSSES.create(spec)(p, t, z)
    assert loss.dtype == "float32"
    exact = LOSSES.create(spec)(*(tf.cast(v, "float64") for v in (p, t, z)))
    np.testing.assert_allclose(loss, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("isoloss(form='angle')", "form must be cosine or euclidean. Received: form='angle'"),
        ("nt_xent(temperature=0)", "temperature must be positive. Received: temperature=0"),
        ("batch_normalized(epsilon=-1)", "epsilon must not be negative. Received: epsilon=-1"),
    ],
)
def test_arguments_out_of_range(spec, words):
    with pytest.raises(ValueError, match=words):
        LOSSES.create(spec)
