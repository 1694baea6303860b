"""Before the first import of TensorFlow: quiet, and with oneDNN as the command line has it."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.fixture
def float64():
    """Everything in float64: floatx, and the policy that layers may have cached from it before."""
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.fixture
def policy():
    """Sets Keras's dtype policy, for one test."""
    import keras

    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Spec of a folder of encoded images of ten sizes."""
    import numpy as np
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(10):
        image = tf.constant(rng.integers(0, 256, (20 + i, 24, 3)), tf.uint8)
        tf.io.write_file(str(folder / f"{i}.jpg"), tf.io.encode_jpeg(image))
    return f"folder(path='{folder}', size=16)"


def pytest_sessionfinish(session, exitstatus):
    """Where there are real data, a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("TFDS_DATA_DIR") and skipped and exitstatus == 0:
        print(f"\nTFDS_DATA_DIR is set, yet {len(skipped)} tests were skipped: {skipped[0].nodeid} ...")
        session.exitstatus = 1
