"""The nine-scalar flow against patches: its gradient, its training, its regimes."""

import numpy as np
import pytest

from tf_directpred.theory import patch_sgd
from tf_directpred.theory import prediction_head as head
from tf_directpred.theory.integrate import outcomes, trajectory
from tf_directpred.theory.parameters import PatchModel

GENERIC = np.array([0.3, -0.2, 0.25, 0.4, 0.8, 0.6, 0.1, 0.15, -0.35])


def batch_loss(W, E, views):
    f, G = ((views @ W.T) ** 3).sum(axis=2)
    F = f + E * f[:, ::-1]
    normal = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (F, G)]
    return normal


def test_gradients_against_differences():
    rng = np.random.default_rng(0)
    params = PatchModel()
    views = patch_sgd.draw_views(rng, 32, 6, params).astype(float)
    W, E = patch_sgd.weights_of(GENERIC, 6), GENERIC[7:]
    target = batch_loss(W, E, views)[1]

    def loss(W, E):
        # The target carries a stop-gradient.
        return 2 - (batch_loss(W, E, views)[0] * target).mean(axis=0).sum()

    dW, dE = patch_sgd.gradients(W, E, views)
    h = 1e-6
    for index in ((0, 0), (0, 3), (1, 1), (1, 4)):
        step = np.zeros_like(W)
        step[index] = h
        assert dW[index] == pytest.approx((loss(W + step, E) - loss(W - step, E)) / (2 * h), abs=1e-7)
    for j in (0, 1):
        step = h * np.eye(2)[j]
        assert dE[j] == pytest.approx((loss(W, E + step) - loss(W, E - step)) / (2 * h), abs=1e-7)


def test_flow_is_the_mean_gradient_of_patches():
    params = PatchModel(head_rate=0.5)
    W, E = patch_sgd.weights_of(GENERIC, 8), GENERIC[7:]
    rng = np.random.default_rng(1)
    rates = []
    for _ in range(12):
        dW, dE = patch_sgd.gradients(W, E, patch_sgd.draw_views(rng, 40_000, 8, params))
        h = 1e-4
        ahead = patch_sgd.state_of(W - h * dW, E - h * params.head_rate * dE)
        rates.append((ahead - GENERIC) / h)
    expected = head.population_flow(0.0, GENERIC, params)
    error = np.std(rates, axis=0) / np.sqrt(len(rates))
    assert (np.abs(np.mean(rates, axis=0) - expected) < 5 * error + 1e-4).all()
    assert np.abs(expected).max() > 50 * error.max()


def test_states_and_weights_are_inverse():
    W = patch_sgd.weights_of(GENERIC, 7)
    np.testing.assert_allclose(patch_sgd.state_of(W, GENERIC[7:]), GENERIC, atol=1e-15)


def test_views_share_the_feature_and_no_patch():
    params = PatchModel()
    views = patch_sgd.draw_views(np.random.default_rng(0), 500, 5, params)
    features, noise = views[:, :, :2], views[:, :, 2:]
    np.testing.assert_array_equal(features[0], features[1])
    assert not noise[..., :2].any() and not features[..., 2:].any()
    assert not np.isclose(noise[0], noise[1])[..., 2:].any()
    lengths = np.abs(features[0, :, 0, :2]).max(axis=1)
    assert set(lengths.tolist()) == {2.0, 3.0} and 0.4 < (lengths == 3).mean() < 0.6


def test_one_step_is_gradient_descent_of_neurons_and_head():
    params = PatchModel(head_rate=0.5)
    views = patch_sgd.draw_views(np.random.default_rng(3), 1024, 8, params)
    W, E = patch_sgd.weights_of(GENERIC, 8), GENERIC[7:]
    dW, dE = patch_sgd.gradients(W, E, views)
    times, states = patch_sgd.train(GENERIC, 0.02, params, dimension=8, reports=1, seed=3)
    np.testing.assert_allclose(states[-1], patch_sgd.state_of(W - 0.02 * dW, E - 0.01 * dE), atol=1e-15)
    np.testing.assert_allclose(times, [0.0, 0.02])


def test_training_follows_the_flow_until_the_first_feature():
    params = PatchModel(head_rate=0.2)
    start = head.demonstration_start()
    messages = []
    times, states = patch_sgd.train(
        start, 8.0, params, dimension=8, learning_rate=0.02, reports=4, progress=messages.append
    )
    flow = trajectory(head.population_flow, start, times[1:], params)
    np.testing.assert_allclose(head.cosines(states[-1]), head.cosines(flow[-1]), atol=0.03)
    assert states.shape == (5, 9) and len(messages) == 10
    again = patch_sgd.train(start, 0.2, params, dimension=8, reports=2)[1]
    np.testing.assert_array_equal(again, patch_sgd.train(start, 0.2, params, dimension=8, reports=2)[1])
    with pytest.raises(ValueError, match="learning_rate must be finite and above 0"):
        patch_sgd.train(start, 1.0, params, learning_rate=0.0)


def test_three_regimes_of_the_head_rate():
    start = head.demonstration_start()
    end = {
        rate: trajectory(head.population_flow, start, [400.0], PatchModel(head_rate=rate))[0]
        for rate in (0.0, 0.003, 0.2, 30.0)
    }
    cosines = {rate: head.cosines(y) for rate, y in end.items()}
    for rate in (0.0, 0.003):
        assert cosines[rate][:, 0].min() > 0.9
        assert head.output_correlation(end[rate], PatchModel(head_rate=rate)) > 0.99
    assert cosines[0.2][0, 0] > 0.9 and cosines[0.2][1, 1] > 0.9
    assert (
        abs(end[0.2][8]) < 1e-5 and abs(head.output_correlation(end[0.2], PatchModel(head_rate=0.2))) < 0.05
    )
    assert cosines[30.0][0, 0] > 0.9 and cosines[30.0][1].max() < 0.3 and end[30.0][8] > 1.5


def test_head_stays_below_its_bound():
    params, start = PatchModel(head_rate=0.2), head.demonstration_start()
    y = trajectory(head.population_flow, start, np.linspace(1, 150, 300), params)
    bound = head.head_bound(start, params)
    assert bound == pytest.approx(0.2613, abs=1e-4)
    assert 0.9 * bound < y[:, 8].max() < bound


def test_random_starts_and_their_outcomes():
    starts = head.random_starts(6, 64, seed=0)
    np.testing.assert_array_equal(starts, head.random_starts(6, 64, seed=0))
    assert (starts[:, 6] ** 2 < starts[:, 4] * starts[:, 5]).all()
    counts = []
    for rate in (0.0, 0.1):
        params = PatchModel(strength=(3.0, 1.5), head_rate=rate)
        ends = outcomes(head.population_flow, starts, 1e5, params, head.distance_to_settled)
        counts.append(head.learns_both_features(ends).sum())
    assert counts[0] < counts[1]
    with pytest.raises(ValueError, match="dimension must be at least 3"):
        head.random_starts(1, 2, seed=0)


def test_outcome_is_settled_only_beyond_what_counts_as_learned():
    params = PatchModel(strength=(20.0, 20.0))
    for cosine, settled in ((0.82, False), (0.9, True)):
        off = 1 - cosine**2
        y = np.array([cosine, 0.0, 0.0, cosine, off, off, 0.0, 0.0, 0.0])
        assert head.output_agreement(y, params).min() > 0.999
        assert head.learns_both_features(y) and (head.distance_to_settled(y, params) < 0) == settled
    both_on_one = np.array([0.9, 0.0, 0.9, 0.0, 0.19, 0.19, 0.0, 0.0, 0.0])
    assert head.distance_to_settled(both_on_one, params) > 0
