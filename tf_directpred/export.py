"""A trained encoder for programs that know nothing of this package."""

import contextlib
import os
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

# Parents that say nothing about what a subclass computes.
_BARE = (keras.Layer, keras.Model, keras.layers.Wrapper, keras.Operation)
_OBJECT_KEYS = {"module", "class_name", "config", "registered_name"}


def export(encoder, path, preprocessing, image_shape):
    """Writes an encoder, its preprocessing inside, as a SavedModel and as a Keras file.

        representation = encoder((images / 255 - mean) / std)

    `path/encoder/` is a SavedModel: signature `serving_default`, uint8 `images` -> float32 `representation`,
    any batch size. `path/encoder.keras` is the same function of uint8 or float images in [0, 255]. Both hold
    stock Keras layers in float32 only, so `tf.saved_model.load` and `keras.saving.load_model` need no other
    package. Each is written under a temporary name and moved into place whole.

    Args:
        encoder: a built functional or Sequential `keras.Model`, normalised images -> representations.
        path: folder to write into; made where missing.
        preprocessing: `{"mean": ..., "std": ...}`, a number per channel in units of [0, 1], or None for
            images in [0, 1].
        image_shape: (H, W, channels) of the images it was made for. Where the encoder takes any size, so does
            the exported one.

    Raises:
        ValueError: the encoder holds a layer that no stock Keras layer stands for, or takes other images.
    """
    stock = stock_encoder(encoder)
    _check_same(encoder, stock, image_shape)
    os.makedirs(path, exist_ok=True)
    with _float32_policy(), tempfile.TemporaryDirectory(dir=path, prefix=".export-") as scratch:
        model = _with_preprocessing(stock, preprocessing)
        model.save(os.path.join(scratch, "encoder.keras"))
        _save_serving(model, os.path.join(scratch, "encoder"))
        _move(scratch, path, "encoder.keras")
        _move(scratch, path, "encoder")


def stock_encoder(encoder):
    """The same network made of stock Keras layers in float32, with its own variables.

    A layer of any other class becomes the nearest stock class that it derives from, with the same arguments.

    Args:
        encoder: a built functional or Sequential `keras.Model`; models may be nested.

    Raises:
        ValueError: it is no such model, or a layer derives from no stock Keras layer.
    """
    functional = isinstance(encoder, keras.Sequential) or getattr(encoder, "inputs", None)
    if not functional or not encoder.built:
        raise ValueError(
            "encoder must be a built functional or Sequential keras.Model. "
            f"Received: {type(encoder).__name__}"
        )
    serialized = _to_stock(keras.saving.serialize_keras_object(encoder))
    with _float32_policy():
        stock = keras.saving.deserialize_keras_object(serialized)
    stock.set_weights(encoder.get_weights())
    return stock


@contextlib.contextmanager
def _float32_policy():
    """Makes models in float32: they have no policy in their config but cast inputs by the global one."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _to_stock(value):
    """Rewrites a serialized Keras object, and all that it holds, in stock classes and float32."""
    if isinstance(value, (list, tuple)):
        return [_to_stock(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _OBJECT_KEYS <= value.keys():
        value = _stock_object(value)
    # What an encoder was compiled with is no part of what it computes.
    return {key: _to_stock(item) for key, item in value.items() if key != "compile_config"}


def _stock_object(serialized):
    module = serialized["module"] or ""
    if serialized["class_name"] == "DTypePolicy":
        return {**serialized, "config": {"name": "float32"}}
    if serialized["class_name"] in ("Lambda", "function"):
        raise _unmappable(serialized)
    if serialized["class_name"] == "InputLayer" and "float" in serialized["config"]["dtype"]:
        return {**serialized, "config": {**serialized["config"], "dtype": "float32"}}
    if module.split(".")[0] == "keras":
        return serialized
    parent = _stock_parent(serialized)
    # Asked of its parent, an object reports the parent's arguments alone.
    config = parent.get_config(keras.saving.deserialize_keras_object(serialized))
    named = {"module": parent.__module__, "class_name": parent.__name__, "registered_name": parent.__name__}
    return {**serialized, **named, "config": config}


def _stock_parent(serialized):
    cls = keras.saving.get_registered_object(serialized["registered_name"])
    cls = cls or getattr(sys.modules.get(serialized["module"]), serialized["class_name"], object)
    parent = next((base for base in cls.__mro__ if base.__module__.split(".")[0] == "keras"), None)
    if parent is None or parent in _BARE:
        raise _unmappable(serialized)
    return parent


def _unmappable(serialized):
    config = serialized["config"]
    name = config.get("name") if isinstance(config, dict) else config
    kind = serialized["registered_name"] or serialized["class_name"]
    return ValueError(
        "Everything in an exported encoder must be, or derive from, a stock Keras layer other than Lambda. "
        f"Received: {name!r}, a {kind}"
    )


def _check_same(encoder, stock, image_shape):
    """Refuses other numbers than the encoder's: a subclass may compute what its parent does not."""
    taken = encoder.input_shape[1:]
    fits = len(taken) == len(image_shape) and all(a == b for a, b in zip(taken, image_shape) if a and b)
    if not fits:
        raise ValueError(
            f"image_shape must be of images that the encoder takes, {taken}. Received: {image_shape}"
        )
    shape = [side or given or 32 for side, given in zip(taken, image_shape)]
    images = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    expected, found = (np.asarray(tf.cast(m(images, training=False), "float32")) for m in (encoder, stock))
    half = any(layer.compute_dtype in ("float16", "bfloat16") for layer in encoder.layers)
    tolerance = (0.1 if half else 1e-3) * np.max(np.abs(expected), initial=1e-6)
    if not np.allclose(expected, found, rtol=0.0, atol=tolerance, equal_nan=True):
        raise ValueError(
            "A layer of the encoder computes something else than the stock layer it derives from. "
            f"Received: representations {np.max(np.abs(expected - found)):.3g} apart"
        )


def _with_preprocessing(stock, preprocessing):
    channels = stock.input_shape[-1]
    preprocessing = preprocessing or {"mean": [0.0] * channels, "std": [1.0] * channels}
    mean, std = (np.asarray(preprocessing[key], "float64") for key in ("mean", "std"))
    if mean.shape != (channels,) or std.shape != (channels,) or not np.all(std > 0.0):
        raise ValueError(
            f"preprocessing must give a mean and a positive std for {channels} channels. "
            f"Received: {preprocessing}"
        )
    # A float input takes uint8 images as well; a uint8 input would cut the fractions off float images.
    images = keras.Input(stock.input_shape[1:], dtype="float32", name="images")
    scaled = keras.layers.Rescaling(
        scale=(1.0 / (255.0 * std)).tolist(), offset=(-mean / std).tolist(), name="preprocessing"
    )(images)
    return keras.Model(images, stock(scaled), name="encoder")


def _save_serving(model, path):
    def serve(images):
        return {"representation": model(tf.cast(images, "float32"), training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    images = tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="images")
    archive.add_endpoint("serve", serve, input_signature=[images])
    archive.write_out(path, verbose=False)


def _move(scratch, path, name):
    """Moves scratch/name to path/name; what was there goes with the scratch folder."""
    if os.path.isdir(os.path.join(path, name)):
        os.replace(os.path.join(path, name), os.path.join(scratch, f"old-{name}"))
    os.replace(os.path.join(scratch, name), os.path.join(path, name))
