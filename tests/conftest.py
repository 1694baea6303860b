"""Before the first import of TensorFlow: quiet, and with oneDNN as the command line has it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def pytest_sessionfinish(session, exitstatus):
    """Where there are real data, a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("TFDS_DATA_DIR") and skipped and exitstatus == 0:
        print(f"\nTFDS_DATA_DIR is set, yet {len(skipped)} tests were skipped: {skipped[0].nodeid} ...")
        session.exitstatus = 1
