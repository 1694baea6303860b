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


def pytest_sessionfinish(session, exitstatus):
    """Where there are real data, a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("TFDS_DATA_DIR") and skipped and exitstatus == 0:
        print(f"\nTFDS_DATA_DIR is set, yet {len(skipped)} tests were skipped: {skipped[0].nodeid} ...")
        session.exitstatus = 1
