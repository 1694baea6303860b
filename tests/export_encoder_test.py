"""Exported encoders: the same numbers in a process that knows nothing of this package."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_directpred.export import export, stock_encoder
from tf_directpred.networks import BatchNormalization, convnet, mlp, resnet18

PREPROCESSING = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}

# Runs where tf_directpred cannot be imported; writes what the exported encoders make of the images.
ALONE = """
import sys
sys.modules["tf_directpred"] = None
images, *folders = sys.argv[1:]
import keras, numpy as np, tensorflow as tf
try:
    import tf_directpred
    sys.exit("tf_directpred is importable")
except ImportError:
    pass
images = np.load(images)
labels = np.arange(len(images)) % 2
for folder in folders:
    serve = tf.saved_model.load(folder + "/encoder").signatures["serving_default"]
    encoder = keras.saving.load_model(folder + "/encoder.keras")
    found = {}
    for n in (1, 7):
        found[f"saved_model{n}"] = serve(images=tf.constant(images[:n]))["representation"]
        found[f"keras{n}"] = encoder(images[:n])
    found["keras_float"] = encoder(images.astype("float32") + 0.5)
    found["keras_predict"] = encoder.predict(images, verbose=0)
    layer = keras.layers.TFSMLayer(folder + "/encoder", call_endpoint="serving_default")
    found["tfsm_layer"] = layer(tf.constant(images))["representation"]

    keras.utils.set_random_seed(0)
    encoder.trainable = False
    classifier = keras.Sequential([encoder, keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    found["accuracy"] = classifier.fit(images, labels, epochs=20, verbose=0).history["accuracy"][-1]
    np.savez(folder + "/answers", **{key: np.asarray(value) for key, value in found.items()})
"""


def _moved(encoder):
    """The encoder with weights and statistics that are not the initial ones."""
    rng = np.random.default_rng(1)
    encoder.set_weights([w + 0.1 * np.abs(rng.normal(size=w.shape)) for w in encoder.get_weights()])
    return encoder


def _images(n, *shape):
    """Dark and bright images, so that a classifier has something to tell apart."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 100, (n, *shape)) + 150 * (np.arange(n) % 2)[:, None, None, None]).astype("uint8")


def _expected(encoder, images):
    mean, std = (np.asarray(PREPROCESSING[key], "float32") for key in ("mean", "std"))
    normalised = (np.asarray(images, "float32") / 255.0 - mean) / std
    return np.asarray(tf.cast(encoder(normalised, training=False), "float32"))


def _nested():
    """A model in a model: ours, one of a user's registered subclasses, and a wrapper around ours."""
    body = keras.Sequential([convnet((None, None, 3), (4, 8), (2, 2)), mlp(8, (6,), 5)], name="body")
    repeated = layers.TimeDistributed(BatchNormalization())
    return keras.Sequential(
        [keras.Input((16, 16, 3)), body, layers.Reshape((1, 5)), repeated, layers.Flatten()]
    )


def _stock():
    body = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((16, 16, 3)), *body])


def _close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Two exported encoders, the images, and what a process without the package made of them."""
    folder = tmp_path_factory.mktemp("alone")
    images = _images(16, 16, 16, 3)
    np.save(folder / "images.npy", images)
    (folder / "alone.py").write_text(ALONE)
    encoders = {"resnet18": _moved(resnet18(width=4)), "nested": _moved(_nested())}
    for name, encoder in encoders.items():
        export(encoder, folder / name, PREPROCESSING, (16, 16, 3))
    arguments = [str(folder / name) for name in ("alone.py", "images.npy", *encoders)]
    finished = subprocess.run([sys.executable, "-I", *arguments], cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return encoders, images, {name: np.load(folder / name / "answers.npz") for name in encoders}


@pytest.mark.parametrize("name", ["resnet18", "nested"])
def test_a_process_without_the_package_gets_the_same_numbers(alone, name):
    encoders, images, answers = alone
    found, expected = answers[name], _expected(encoders[name], images)
    for n in (1, 7):
        _close(found[f"saved_model{n}"], expected[:n])
        _close(found[f"keras{n}"], expected[:n])
    _close(found["keras_float"], _expected(encoders[name], images.astype("float32") + 0.5))
    _close(found["keras_predict"], expected)
    _close(found["tfsm_layer"], expected)


def test_a_classifier_on_top_trains_with_fit(alone):
    for answers in alone[2].values():
        assert answers["accuracy"] > 0.9


def test_serving_signature(tmp_path):
    export(_stock(), tmp_path, None, (16, 16, 3))
    serve = tf.saved_model.load(str(tmp_path / "encoder")).signatures["serving_default"]
    (images,) = serve.structured_input_signature[1].values()
    assert (images.name, images.dtype, images.shape.as_list()) == ("images", tf.uint8, [None, 16, 16, 3])
    (name, output), = serve.structured_outputs.items()
    assert (name, output.dtype, output.shape.as_list()) == ("representation", tf.float32, [None, 4])


def test_a_users_own_stock_encoder_without_normalisation(tmp_path):
    encoder, images = _moved(_stock()), _images(3, 16, 16, 3)
    export(encoder, tmp_path, None, (16, 16, 3))
    found = keras.saving.load_model(tmp_path / "encoder.keras")(images)
    _close(found, np.asarray(encoder(images / np.float32(255.0), training=False)))


def test_an_encoder_of_any_size_exports_as_one(tmp_path):
    encoder = _moved(convnet(widths=(4, 8), strides=(2, 1)))
    export(encoder, tmp_path, PREPROCESSING, (32, 32, 3))
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    served = tf.saved_model.load(str(tmp_path / "encoder"))
    for shape in ((16, 16, 3), (20, 33, 3)):
        images = _images(2, *shape)
        _close(loaded(images), _expected(encoder, images))
        _close(served.serve(images)["representation"], _expected(encoder, images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_precision_encoder_exports_as_float32(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        encoder = _moved(_nested())
        export(encoder, tmp_path, PREPROCESSING, (16, 16, 3))
        assert keras.config.dtype_policy().name == policy
        served = tf.saved_model.load(str(tmp_path / "encoder"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert encoder.compute_dtype != "float32"
    full = _nested()
    full.set_weights(encoder.get_weights())
    images = _images(3, 16, 16, 3)
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    assert {layer.compute_dtype for layer in loaded._flatten_layers()} == {"float32"}
    _close(loaded(images), _expected(full, images))
    _close(served.serve(images)["representation"], _expected(full, images))


def test_every_layer_is_stock_and_shares_no_variable():
    encoder = _moved(_nested())
    encoder.compile(loss=own_function)
    stock = stock_encoder(encoder)
    assert {type(layer).__module__.split(".")[0] for layer in stock._flatten_layers()} == {"keras"}
    assert not any(isinstance(layer, BatchNormalization) for layer in stock._flatten_layers())
    assert not {id(v) for v in stock.variables} & {id(v) for v in encoder.variables}
    assert [layer.name for layer in stock.layers] == [layer.name for layer in encoder.layers]


def test_a_second_export_replaces_the_first_and_leaves_nothing_else(tmp_path):
    images = _images(2, 16, 16, 3)
    for weight in (1.0, 2.0):
        encoder = _stock()
        encoder.set_weights([np.full(w.shape, weight) for w in encoder.get_weights()])
        export(encoder, tmp_path, PREPROCESSING, (16, 16, 3))
        served = tf.saved_model.load(str(tmp_path / "encoder"))
        _close(keras.saving.load_model(tmp_path / "encoder.keras")(images), _expected(encoder, images))
        _close(served.serve(images)["representation"], _expected(encoder, images))
    assert sorted(os.listdir(tmp_path)) == ["encoder", "encoder.keras"]


def test_a_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    export(_stock(), tmp_path, None, (16, 16, 3))
    before = (tmp_path / "encoder.keras").read_bytes()

    def full_disk(*arguments, **keywords):
        raise OSError("No space left on device")

    monkeypatch.setattr("tf_directpred.export._save_serving", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export(_moved(_stock()), tmp_path, None, (16, 16, 3))
    assert sorted(os.listdir(tmp_path)) == ["encoder", "encoder.keras"]
    assert (tmp_path / "encoder.keras").read_bytes() == before


@keras.saving.register_keras_serializable("export_test")
class Own(layers.Layer):
    def call(self, x):
        return 2.0 * x


@keras.saving.register_keras_serializable("export_test")
class Doubled(layers.Dense):
    def call(self, x):
        return 2.0 * super().call(x)


@keras.saving.register_keras_serializable("export_test")
class Custom(keras.Model):
    def call(self, x):
        return x


def own_function(x, *_):
    return 2.0 * x


@pytest.mark.parametrize(
    "layer, message",
    [
        (lambda: Own(name="odd"), "Everything in an .* Received: 'odd', a export_test>Own"),
        (lambda: Custom(name="odd"), "Everything in an .* Received: 'odd', a export_test>Custom"),
        (lambda: layers.Lambda(own_function, name="odd"), "Everything in an .* 'odd', a Lambda"),
        (lambda: layers.Dense(3, activation=own_function), "Everything in an .* 'own_function'"),
        (lambda: Doubled(3), "A layer of the encoder computes something else than the stock layer"),
    ],
)
def test_what_has_no_stock_counterpart_is_named_and_nothing_written(layer, message, tmp_path):
    encoder = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layer()])
    with pytest.raises(ValueError, match=f"^{message}"):
        export(encoder, tmp_path, None, (8, 8, 3))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "encoder, preprocessing, shape, message",
    [
        (lambda: Custom(), None, (16, 16, 3), "encoder must be a built"),
        (lambda: keras.Sequential([layers.Flatten()]), None, (16, 16, 3), "encoder must be a built"),
        (_stock, None, (16, 16), "image_shape must be of images that the encoder takes"),
        (_stock, None, (24, 24, 3), "image_shape must be of images that the encoder takes"),
        (_stock, {"mean": [0.5], "std": [0.5]}, (16, 16, 3), "preprocessing must give a mean"),
        (_stock, {"mean": [0] * 3, "std": [0] * 3}, (16, 16, 3), "preprocessing must give a mean"),
    ],
)
def test_bad_arguments_are_named(encoder, preprocessing, shape, message, tmp_path):
    with pytest.raises(ValueError, match=f"^{message}"):
        export(encoder(), tmp_path, preprocessing, shape)
