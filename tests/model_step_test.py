"""The training step: what moves, by how much, and what never does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import GRAPH, assert_equal_states, built, dataset, encoder, state, values, views

from tf_directpred.optim import SGD, CosineMomentum


def test_only_online_and_predictor_train():
    model = built("mlp(hidden=4)")
    trained = {id(v) for v in model.trainable_variables}
    assert trained == {id(v) for v in model.online.trainable_variables + model.predictor.trainable_variables}
    assert trained.isdisjoint({id(v) for v in model.target.variables})
    assert {id(v) for v in model.variables} == trained | {id(v) for v in model.non_trainable_variables}


def test_toggling_trainable_does_not_train_the_target():
    model, reference = built("mlp(hidden=4)"), built("mlp(hidden=4)")
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    assert len(model.trainable_weights) == len(reference.trainable_weights)
    model.train_on_batch(views())
    reference.train_on_batch(views())
    for found, wanted in zip(model.variables, reference.variables, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_toggling_trainable_does_not_train_a_kernel_that_is_set():
    model = built("directpred")
    model.trainable = False
    model.trainable = True
    assert all(v is not model.predictor.kernel for v in model.trainable_variables)


@pytest.mark.parametrize("target", ["ema", None])
def test_every_batch_norm_statistic_moves(target):
    model = built("mlp(hidden=4)", target=target)
    statistics = [v for v in model.variables if "moving" in v.path]
    assert len(statistics) == (10 if target else 6)
    before = values(statistics)
    model.train_on_batch(views())
    for variable, old in zip(statistics, before):
        assert not np.array_equal(variable, old), variable.path


def test_the_target_keeps_running_statistics_of_its_own():
    model, batch = built(target_init="random"), views()
    alone = keras.models.clone_model(model.target)
    alone.set_weights(model.target.get_weights())
    for key in ("view1", "view2"):
        alone(batch[key], training=True)
    model.train_on_batch(batch)
    for found, wanted in zip(model.target.non_trainable_variables, alone.non_trainable_variables, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("tau", [0.9, 0.0, 1.0])
def test_the_target_moves_by_one_minus_tau(tau, float64):
    model = built(target_momentum=tau, target_init="random")
    weights = zip(model.target.weights, model.online.weights)
    parameters = [(t, o) for t, o in weights if "moving" not in t.path]
    assert len(parameters) == 9
    for step in range(3):
        before = values(t for t, _ in parameters)
        model.train_on_batch(views(step))
        for (t, o), old in zip(parameters, before):
            np.testing.assert_allclose(t, tau * old + (1 - tau) * np.array(o), rtol=1e-14, atol=1e-16)


def test_a_schedule_of_the_target_is_of_the_step_before_the_update(float64):
    schedule = CosineMomentum(0.5, total_steps=3)
    model = built(target_momentum=schedule, target_init="random")
    t, o = model.target.trainable_variables[0], model.online.trainable_variables[0]
    for step in range(4):
        old = np.array(t)
        model.train_on_batch(views(step))
        tau = float(schedule(step))
        np.testing.assert_allclose(t, tau * old + (1 - tau) * np.array(o), rtol=1e-12)


def test_target_init_copy_starts_equal_and_random_elsewhere():
    copied, drawn = built(), built(target_init="random")
    for t, o in zip(copied.target.weights, copied.online.weights, strict=True):
        np.testing.assert_array_equal(t, o)
        assert t is not o
    kernels = [(t, o) for t, o in zip(drawn.target.weights, drawn.online.weights) if "kernel" in t.path]
    assert len(kernels) == 3 and all(not np.array_equal(t, o) for t, o in kernels)


def test_the_loss_is_the_sum_of_both_directions():
    """By hand, in NumPy, from the networks' own outputs in training mode."""
    model = built(norm=None, target_init="random")
    batch = views()

    def unit(z):
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    (z1, z2), (t1, t2) = ([unit(np.array(f(batch[k]))) for k in batch] for f in (model.online, model.target))
    expected = np.mean(-2 * np.sum(z1 * t2, 1) - 2 * np.sum(z2 * t1, 1))  # the kernel starts as the identity
    assert model.train_on_batch(batch) == pytest.approx(expected, rel=1e-5)


def test_one_direction_predicts_view_2_from_view_1():
    batch, other = views(), views(1)
    model = built(norm=None, symmetrize=False, target_init="random")
    z1, t2 = np.array(model.online(batch["view1"])), np.array(model.target(batch["view2"]))
    cos = np.sum(z1 * t2, 1) / np.linalg.norm(z1, axis=1) / np.linalg.norm(t2, axis=1)
    assert model.train_on_batch(batch) == pytest.approx(np.mean(-2 * cos), rel=1e-5)
    # F knows the predicted view alone.
    np.testing.assert_allclose(model.predictor.correlation, z1.T @ z1 / len(z1), rtol=1e-5)
    same_view1 = built(norm=None, symmetrize=False, target_init="random")
    same_view1.train_on_batch({"view1": batch["view1"], "view2": other["view2"]})
    np.testing.assert_array_equal(same_view1.predictor.correlation, model.predictor.correlation)


@pytest.mark.parametrize("symmetrize", [True, False])
def test_simsiam_is_byol_whose_target_forgets_at_once(symmetrize):
    options = {"predictor": "mlp(hidden=4)", "symmetrize": symmetrize}
    byol, simsiam = built(target_momentum=0.0, **options), built(target=None, **options)
    assert simsiam.target is None
    for step in range(4):
        losses = [model.train_on_batch(views(step)) for model in (byol, simsiam)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for found, wanted in zip(simsiam.trainable_variables, byol.trainable_variables, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_without_predictor_and_stop_gradient_representations_collapse():
    """Tian et al. 2021, Theorem 2: every mode decays; with both of them they do not."""
    images = views(n=32)

    def spread(**options):
        model = built(optimizer=SGD(0.3), norm=None, loss="euclidean", **options)
        before = np.std(model.online(images["view1"]), axis=0).mean()
        for _ in range(30):
            model.train_on_batch(images)
        return np.std(model.online(images["view1"]), axis=0).mean() / before

    assert spread(predictor="identity", target=None, stop_gradient=False) < 0.4
    assert spread(predictor="linear(init='identity')") > 0.8


def test_without_stop_gradient_both_branches_learn():
    """With the identity as predictor the second path of the gradient equals the first."""
    options = {"predictor": "identity", "target": None, "norm": None, "loss": "euclidean"}
    stopped = built(optimizer=SGD(0.01, 0.0), stop_gradient=True, **options)
    through = built(optimizer=SGD(0.01, 0.0), stop_gradient=False, **options)
    start = values(stopped.trainable_variables)
    for model in (stopped, through):
        model.train_on_batch(views())
    for w0, one, two in zip(start, stopped.trainable_variables, through.trainable_variables):
        np.testing.assert_allclose(np.array(two) - w0, 2 * (np.array(one) - w0), rtol=1e-3, atol=1e-6)


def test_a_graph_takes_the_same_steps():
    predictor = "directpred(update_every=2, use_bias=True)"
    eager, graph = (built(predictor, compiled={"run_eagerly": eagerly}) for eagerly in (True, False))
    for step in range(3):
        for model in (eager, graph):
            model.train_on_batch(views(step))
    for found, wanted in zip(graph.variables, eager.variables, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6, err_msg=wanted.path)


def test_evaluation_and_validation_change_nothing():
    model = built("directpred(use_bias=True)")
    model.train_on_batch(views())
    before = state(model)
    loss = model.evaluate(dataset(), verbose=0)
    assert np.isfinite(loss) and loss == model.evaluate(dataset(), verbose=0)
    model.predict(views()["view1"], verbose=0)
    model.test_on_batch(views())
    model(views()["view1"])
    assert_equal_states(state(model), before)


def test_validation_images_do_not_enter_training():
    plain, validated = built(), built()
    plain.fit(dataset(), epochs=2, verbose=0)
    history = validated.fit(dataset(), validation_data=dataset(3), epochs=2, verbose=0).history
    assert len(history["val_loss"]) == 2 and np.all(np.isfinite(history["val_loss"]))
    for found, wanted in zip(validated.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_predict_gives_representations():
    model = built()
    x = views()["view1"]
    wanted = model.encoder(x, training=False)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-5, atol=1e-6)
    assert isinstance(model.encoder, keras.Model) and model.encoder.output_shape == (None, 4)


@pytest.mark.parametrize("key", ["view1", "view2"])
def test_images_that_are_not_finite_are_named_and_poison_nothing(key):
    model = built(compiled=GRAPH)
    model.train_on_batch(views())
    before = state(model)
    batch = views(1)
    batch[key][3, 2, 2, 1] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{key} is not finite"):
        model.train_on_batch(batch)
    assert_equal_states(state(model), before)


def test_a_loss_that_is_not_finite_stops_before_any_weight_moves():
    model = built(norm=None, compiled=GRAPH)
    model.train_on_batch(views())
    model.online.weights[-1].assign([np.inf, 0.0, 0.0])
    before = state(model)
    with pytest.raises(tf.errors.InvalidArgumentError, match="The loss is not finite; no weight was changed"):
        model.train_on_batch(views(1))
    assert_equal_states(state(model), before)


def test_a_step_that_the_loss_scaler_skips_moves_nothing(policy):
    policy("mixed_float16")
    model = built("directpred(update_every=2, train_kernel=True)", target_init="random")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.optimizer.dynamic_scale.assign(8.0)
    model.train_on_batch(views())
    assert model.optimizer.iterations == 1 and model.predictor.step == 1
    before = state(model)
    model.optimizer.dynamic_scale.assign(1e30)
    model.train_on_batch(views(1))
    assert model.optimizer.iterations == 1
    # Batch norm has seen the batch; Keras's scaler writes down that it skipped.
    assert_equal_states(state(model), before, but=("moving", "dynamic_scale", "step_counter"))
    model.optimizer.dynamic_scale.assign(8.0)
    model.train_on_batch(views(1))
    assert model.optimizer.iterations == 2 and model.predictor.step == 2
    moved = {name for name, value in state(model).items() if not np.array_equal(value, before[name])}
    assert any("correlation" in name for name in moved)


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_the_correlation_is_float32_under_mixed_precision(name, policy):
    policy(name)
    model = built(norm=None)
    predictor, batch = model.predictor, views()
    z = [np.array(tf.cast(model.online(batch[key]), "float32")) for key in batch]
    model.train_on_batch(batch)
    assert predictor.correlation.dtype == predictor.kernel.dtype == "float32"
    exact = (z[0].T @ z[0] + z[1].T @ z[1]) / 16
    np.testing.assert_allclose(predictor.correlation, exact, rtol=1e-4, atol=1e-7)
    rounded = tf.cast(tf.cast(predictor.correlation, predictor.compute_dtype), "float32")
    assert not np.array_equal(predictor.correlation, rounded)
    assert np.isfinite(model.fit(dataset(), verbose=0).history["loss"][0])
