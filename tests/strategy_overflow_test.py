"""mixed_float16 over two devices: an overflow at the second one alone skips the step at both."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROGRAM = """
import keras, numpy as np, tensorflow as tf
from tf_directpred import distribution
from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS

strategy = distribution.connect("mirrored", 2)
keras.utils.set_random_seed(0)
keras.config.set_dtype_policy("mixed_float16")
with strategy.scope():
    x = keras.Input((6,))
    encoder = keras.Model(x, keras.layers.Dense(4)(x))
    model = NonContrastive(encoder, None, "directpred", target_momentum=0.5)
    model.compile(LARS(0.1))
views = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")

def step(x):
    model.fit(tf.data.Dataset.from_tensors({"view1": x, "view2": x}), verbose=0)
    weights = [v.numpy() for v in [*model.online.variables, *model.target.variables, *model.predictor.variables]]
    return int(model.optimizer.inner_optimizer.iterations.numpy()), weights

steps, before = step(views)
assert steps == 1
bad = views.copy()
bad[-1] = 1e30  # infinite in float16; a row of the second device
steps, after = step(bad)
assert steps == 1, "the step was not skipped"
for a, b in zip(before, after):
    np.testing.assert_array_equal(a, b)
for replica in strategy.experimental_local_results(model.online.trainable_variables[0].value):
    np.testing.assert_array_equal(replica, before[0])
steps, after = step(views)
assert steps == 2 and np.abs(after[0] - before[0]).max() > 0 and all(np.isfinite(a).all() for a in after)
"""


@pytest.mark.slow
def test_an_overflow_at_one_device_skips_the_step_at_both():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
