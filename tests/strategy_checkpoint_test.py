"""Two devices: a checkpoint that is read reaches both, and training goes on as if it had never stopped."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROGRAM = """
import sys
import keras, numpy as np, tensorflow as tf
from tf_directpred import distribution
from tf_directpred.checkpoint import Checkpoint
from tf_directpred.model import NonContrastive
from tf_directpred.optim import LARS

strategy = distribution.connect("mirrored", 2)

def fresh(seed):
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        x = keras.Input((6,))
        y = keras.layers.BatchNormalization(synchronized=True)(keras.layers.Dense(4)(x))
        model = NonContrastive(keras.Model(x, y), None, "directpred", target_momentum=0.5)
        model.compile(LARS(0.1))
    return model

views = np.random.default_rng(0).normal(size=(2, 8, 6)).astype("float32")
batches = tf.data.Dataset.from_tensors({"view1": views[0], "view2": views[1]}).repeat()

def state(model):
    local = [strategy.experimental_local_results(v.value) for v in [*model.variables, *model.optimizer.variables]]
    for replicas in local:
        for replica in replicas:
            np.testing.assert_array_equal(replica, replicas[0])
    return [replicas[0].numpy() for replicas in local]

whole = fresh(0)
whole.fit(batches, steps_per_epoch=3, verbose=0)
Checkpoint(whole, sys.argv[1]).save()
resumed = fresh(1)
assert Checkpoint(resumed, sys.argv[1]).restore()
for _ in range(2):
    for a, b in zip(state(whole), state(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    for model in (whole, resumed):
        model.fit(batches, steps_per_epoch=3, verbose=0)
"""


@pytest.mark.slow
def test_a_checkpoint_reaches_every_device(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "checkpoints")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
