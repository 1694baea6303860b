"""Trains small models under strategies and writes down every variable; a program: devices are settled at its start.

    python strategy_program.py OUT.npz '{"strategies": ["default", "mirrored"], "devices": 2, "cases": [...], ...}'
"""

import itertools
import json
import os
import re
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tf_directpred import distribution  # noqa: E402
from tf_directpred.data import TwoViews  # noqa: E402
from tf_directpred.model import NonContrastive  # noqa: E402
from tf_directpred.networks import ENCODERS, PROJECTORS  # noqa: E402
from tf_directpred.optim import LARS, SGD, CosineMomentum, learning_rate_schedule  # noqa: E402
from tf_directpred.predictors import PREDICTORS  # noqa: E402

METHODS = {
    "linear": {"predictor": "linear"},
    "directpred": {"predictor": "directpred(rho=0.3, epsilon=0.1)"},
    "hybrid": {"predictor": "directpred(update_every=3, train_kernel=True)"},
    "byol": {"predictor": "mlp(hidden=16, affine=True)", "target_momentum": CosineMomentum(0.9, 20)},
    "simsiam": {"predictor": "mlp(hidden=16)", "target": None, "loss": "cosine(scale=0.25)"},
    # Steps that are the same to the last bit in batches of another size.
    "augmented": {"predictor": "directpred", "augment": "none(flip=0.5, solarize=0.5)"},
    "simclr": {"predictor": "identity", "target": None, "loss": "nt_xent", "stop_gradient": False},
}


def lars(**kwargs):
    return LARS(learning_rate_schedule("cosine", 0.5, 20, 3), weight_decay=1e-3, trust_coefficient=0.05, **kwargs)


OPTIMIZERS = {
    "sgd": lambda: SGD(learning_rate_schedule("cosine", 0.1, 20, 3), weight_decay=4e-4),
    "lars": lars,
    "simclr": lambda: lars(convention="simclr"),
    "apex": lambda: lars(convention="apex"),
}
STEPS, BATCH, SIDE = 10, 24, 8


def batches(augmented):
    rng = np.random.default_rng(0)
    shape = STEPS * BATCH, SIDE, SIDE, 3
    if augmented:
        images = {"images": rng.integers(0, 256, shape, np.uint8), "step": np.repeat(np.arange(STEPS), BATCH)}
        return tf.data.Dataset.from_tensor_slices(images).batch(BATCH, drop_remainder=True).repeat()
    views = {k: rng.normal(size=shape).astype(keras.config.floatx()) for k in ("view1", "view2")}
    return tf.data.Dataset.from_tensor_slices(views).batch(BATCH, drop_remainder=True).repeat()


def trained(case, strategy, accumulate=1, frozen=False):
    """The model after STEPS steps; `case` is `method_optimizer`, `frozen` its batch norms."""
    method, optimizer = case.split("_")
    keras.utils.set_random_seed(0)
    with strategy.scope():
        synchronized = strategy.num_replicas_in_sync > 1
        encoder = ENCODERS.create(
            "convnet(widths=(4, 8), strides=(2, 2))", input_shape=(SIDE, SIDE, 3), synchronized=synchronized
        )
        projector = PROJECTORS.create("mlp(hidden=(16,), output=6)", input_dim=8, synchronized=synchronized)
        for layer in [*encoder.layers, *projector.layers]:
            layer.trainable = not (frozen and isinstance(layer, keras.layers.BatchNormalization))
        settings = {"target_momentum": 0.9, **METHODS[method]}
        predictor = PREDICTORS.create(settings.pop("predictor"), synchronized=synchronized)
        augment = "augment" in settings and TwoViews(settings.pop("augment"), seed=1) or None
        model = NonContrastive(encoder, projector, predictor, accumulate=accumulate, augment=augment, **settings)
        model.compile(OPTIMIZERS[optimizer]())
    history = model.fit(batches(augment), epochs=2, steps_per_epoch=STEPS // 2, verbose=0)
    return model, history.history["loss"]


def main(out, job):
    arrays = {}
    # The strategies first: devices cannot change after the first operation.
    names = sorted(job["strategies"], reverse=True)
    strategies = {name: distribution.connect(name, job["devices"], wait=120.0) for name in names}
    for dtype, name, case in itertools.product(job["dtypes"], strategies, job["cases"]):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        accumulate = job["accumulate"] if name != "default" else 1
        model, losses = trained(case, strategies[name], accumulate, frozen=job["accumulate"] > 1)
        variables = [*model.variables, *model.optimizer.variables]
        prefix = f"{name}/{dtype}/{case}"
        arrays |= {f"{prefix}/{i:03d} {re.sub(r'_[0-9]+', '', v.path)}": v.numpy() for i, v in enumerate(variables)}
        arrays[f"{prefix}/loss"] = np.array(losses)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
