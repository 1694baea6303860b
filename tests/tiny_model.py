"""A tiny network and its batches, for the tests of the training step."""

import keras
import numpy as np
import tensorflow as tf

from tf_directpred.model import NonContrastive
from tf_directpred.networks import BatchNormalization
from tf_directpred.optim import SGD

SHAPE = (6, 6, 3)


def encoder(norm=BatchNormalization):
    x = images = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    x = norm()(x) if norm else x
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x)))


def projector(norm=BatchNormalization):
    y = keras.Input((4,))
    h = keras.layers.Dense(6)(y)
    h = norm()(h) if norm else h
    return keras.Model(y, keras.layers.Dense(3)(keras.layers.ReLU()(h)))


def built(predictor="directpred", optimizer=None, seed=0, norm=BatchNormalization, compiled=None, **options):
    """A tiny compiled model; eager unless `compiled` says else: tracing costs more than a few steps."""
    keras.utils.set_random_seed(seed)
    model = NonContrastive(encoder(norm), projector(norm), predictor, **options)
    model.compile(optimizer or SGD(0.1, weight_decay=1e-3), **(compiled or {"run_eagerly": True}))
    return model


GRAPH = {"run_eagerly": False}


def views(seed=0, n=8):
    rng = np.random.default_rng(seed)
    x1 = rng.normal(size=(n, *SHAPE)).astype("float32")
    return {"view1": x1, "view2": (x1 + 0.3 * rng.normal(size=x1.shape)).astype("float32")}


def dataset(batches=2):
    return tf.data.Dataset.from_tensor_slices(views(n=8 * batches)).batch(8, drop_remainder=True)


def values(variables):
    return [np.array(v) for v in variables]


def state(model):
    """Every variable's value; numbered, since the target's layers have the names of the online ones."""
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{i} {v.path}": np.array(v) for i, v in enumerate(variables)}


def assert_equal_states(found, wanted, but=()):
    changed = [k for k in wanted if not np.array_equal(found[k], wanted[k]) and not any(b in k for b in but)]
    assert not changed
