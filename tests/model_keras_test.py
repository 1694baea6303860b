"""The model in the hands of a Keras user: saving, callbacks, networks of their own, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import GRAPH, SHAPE, built, dataset, encoder, values, views

from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS, SGD, CosineMomentum
from tf_directpred.predictors import PREDICTORS


@pytest.mark.parametrize(
    "predictor, optimizer",
    [
        ("directpred(use_bias=True)", LARS(0.3)),
        ("mlp(hidden=4)", SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))),
        ("linear(symmetric=True)", keras.optimizers.Adam(0.01)),
    ],
    ids=["directpred", "mlp", "linear"],
)
def test_a_saved_model_trains_on_equal(predictor, optimizer, tmp_path):
    optimizer = type(optimizer).from_config(optimizer.get_config())
    options = {"target_momentum": CosineMomentum(0.5, 10), "target_init": "random", "loss": "euclidean"}
    model = built(predictor, optimizer, **options)
    model.fit(dataset(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.iterations == 2
    for _ in range(2):
        pairs = ([*each.variables, *each.optimizer.variables] for each in (loaded, model))
        for found, wanted in zip(*pairs, strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=wanted.path)
        model.fit(dataset(), verbose=0)
        loaded.fit(dataset(), verbose=0)


def test_a_saved_model_keeps_the_predictors_own_optimizer(tmp_path):
    model = built("linear", SGD(0.1), compiled={"predictor_optimizer": SGD(0.5), "run_eagerly": True})
    model.fit(dataset(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(dataset(), verbose=0)
    for found, wanted in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=wanted.path)


def test_every_argument_survives_serialization():
    options = {
        "target": None, "target_momentum": 0.5, "loss": "euclidean", "stop_gradient": False,
        "symmetrize": False, "target_init": "random",
    }
    config = built("linear(bias=True)", **options).get_config()
    assert {key: config[key] for key in options} == options
    again = NonContrastive.from_config(config)
    assert {key: again.get_config()[key] for key in options} == options
    assert again.predictor.bias
    assert NonContrastive.from_config(built(target="ema").get_config()).target is not None


def test_ordinary_callbacks_work_with_fit(tmp_path):
    model = built("directpred", compiled=GRAPH)
    callbacks = keras.callbacks
    history = model.fit(
        dataset(),
        validation_data=dataset(),
        epochs=3,
        verbose=0,
        callbacks=[
            callbacks.ModelCheckpoint(tmp_path / "model.keras"),
            callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True, save_best_only=True),
            callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1),
            callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True),
            callbacks.CSVLogger(tmp_path / "log.csv"),
            callbacks.TerminateOnNaN(),
        ],
    ).history
    assert len(history["loss"]) == 3
    assert list((tmp_path / "logs" / "train").iterdir())
    assert (tmp_path / "log.csv").read_text().count("\n") == 4
    saved = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(saved.predictor.correlation, model.predictor.correlation)
    fresh = built("directpred", seed=1)
    fresh.load_weights(tmp_path / "w.weights.h5")


def test_early_stopping_brings_back_the_whole_best_state():
    model = built("directpred", SGD(0.1))
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(values(self.model.variables))
            logs["badness"] = float(epoch)

    stop = keras.callbacks.EarlyStopping("badness", mode="min", patience=2, restore_best_weights=True)
    model.fit(dataset(), epochs=5, verbose=0, callbacks=[Spy(), stop])
    assert len(seen) == 3
    for found, wanted in zip(model.variables, seen[0], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_predictor_can_have_a_rate_of_its_own():
    own = {"predictor_optimizer": SGD(0.4, 0.0), "run_eagerly": True}
    reference, model = built("linear", SGD(0.1, 0.0)), built("linear", SGD(0.1, 0.0), compiled=own)
    start = values(reference.trainable_variables)
    for each in (reference, model):
        each.train_on_batch(views())
    for w0, plain, own in zip(start, reference.trainable_variables, model.trainable_variables):
        factor = 4 if "predictor" in own.path else 1
        wanted = factor * (np.array(plain) - w0)
        np.testing.assert_allclose(np.array(own) - w0, wanted, rtol=1e-4, atol=1e-6, err_msg=own.path)
    assert model.optimizer.iterations == 1


def test_the_predictors_own_optimizer_works_under_mixed_precision_and_in_tensorboard(policy, tmp_path):
    policy("mixed_float16")
    model = built("mlp(hidden=4)", SGD(0.1), compiled={"predictor_optimizer": SGD(0.4)})
    t = model.target.trainable_variables[0]
    before = np.array(t)
    model.optimizer.dynamic_scale.assign(8.0)
    model.fit(dataset(), verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path)])
    assert not np.array_equal(t, before)


class Scale(keras.layers.Layer):
    """A layer of the user's own, registered nowhere."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, x):
        return self.factor * x


def sequential():
    layers = [keras.layers.Flatten(), Scale(), keras.layers.Dropout(0.2), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input(SHAPE), *layers])


@pytest.mark.parametrize("network", [sequential, lambda: encoder(norm=keras.layers.BatchNormalization)])
def test_a_users_own_encoder(network):
    model = NonContrastive(network(), predictor="directpred")
    model.compile("sgd")
    rng = np.random.default_rng(0)
    batch = {k: rng.normal(size=(4, *SHAPE)).astype("float32") for k in ("view1", "view2")}
    before = values(model.target.trainable_variables)
    assert np.isfinite(model.train_on_batch(batch))
    assert any(not np.array_equal(t, old) for t, old in zip(model.target.trainable_variables, before))
    assert not {id(v) for v in model.online.variables} & {id(v) for v in model.target.variables}
    assert model.predict(batch["view1"], verbose=0).shape == (4, model.encoder.output_shape[-1])


def test_uint8_images_with_the_scaling_inside_the_encoder():
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = NonContrastive(keras.Sequential([keras.Input(SHAPE), *layers]), predictor="identity")
    model.compile("sgd")
    batch = {k: np.full((4, *SHAPE), 7, "uint8") for k in ("view1", "view2")}
    assert np.isfinite(model.train_on_batch(batch))


def test_a_function_is_a_loss_too():
    def one(prediction, target, projection):
        return tf.reduce_sum(prediction * target + projection, axis=-1)

    assert np.isfinite(built(loss=one).train_on_batch(views()))


@pytest.mark.parametrize("spec", PREDICTORS.names())
def test_every_predictor_trains(spec):
    model = built(spec)
    history = model.fit(dataset(), epochs=2, verbose=0).history["loss"]
    assert np.all(np.isfinite(history))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"target": "momentum"}, "target must be 'ema' or None. Received: target='momentum'"),
        ({"target_init": "zeros"}, "target_init must be 'copy' or 'random'. Received: target_init='zeros'"),
        ({"target_momentum": 1.5}, r"target_momentum must lie in \[0, 1\]. Received: target_momentum=1.5"),
        ({"stop_gradient": False}, "stop_gradient=False needs target=None"),
        ({"loss": "cosin"}, "Unknown loss 'cosin'. Known: .*cosine"),
        ({"predictor": "directpredd"}, "Unknown predictor 'directpredd'. Known: .*directpred"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        built(**options)


@pytest.mark.parametrize("argument", ["encoder", "projector"])
def test_an_unbuilt_network_is_refused(argument):
    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    networks = {"encoder": encoder(), "projector": None, argument: unbuilt}
    with pytest.raises(ValueError, match=f"{argument} must be .* with a keras.Input. Received: Sequential"):
        NonContrastive(**networks)


def test_a_subclassed_encoder_without_symbolic_input_is_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, x):
            return self.dense(keras.ops.mean(x, axis=(1, 2)))

    own = Own()
    own(np.zeros((1, *SHAPE), "float32"))
    with pytest.raises(ValueError, match="encoder must be .* with a keras.Input. Received: Own"):
        NonContrastive(own)


def test_an_encoder_of_feature_maps_is_refused():
    images = keras.Input(SHAPE)
    maps = keras.Model(images, keras.layers.Conv2D(4, 3)(images))
    with pytest.raises(ValueError, match=r"encoder must give \(batch, features\). Received: output shape"):
        NonContrastive(maps)


@pytest.mark.parametrize(
    "batch, words",
    [
        ({"view1": views()["view1"]}, r"view1 and view2. Received: \['view1'\]"),
        ({"a": views()["view1"], "b": views()["view2"]}, r"Received: \['a', 'b'\]"),
        (views()["view1"], "A batch must be a dict with view1 and view2"),
    ],
)
def test_batches_of_other_things(batch, words):
    with pytest.raises(ValueError, match=words):
        built().train_on_batch(batch)


@pytest.mark.parametrize("arguments", [{"loss": "mse"}, {"metrics": ["accuracy"]}])
def test_compile_takes_no_loss(arguments):
    with pytest.raises(ValueError, match=f"compile takes no {next(iter(arguments))}"):
        built(compiled=arguments)


def test_an_optimizer_for_nothing_is_refused():
    with pytest.raises(ValueError, match="DirectPredLayer has no trained weights"):
        built("directpred", compiled={"predictor_optimizer": "sgd"})
