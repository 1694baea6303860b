"""Two worker processes: only the chief writes; when one is killed, both go on later as if nothing had been."""

import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 24
TINY = [
    "--strategy=multi_worker", "--dataset=digits(clutter=False)", "--augment=none", "--batch_size=140",
    "--encoder=convnet(widths=(4,), strides=(8,))", "--projector=mlp(hidden=(8,), output=6)",
    "--checkpoint_minutes=0", "--epochs=4", f"--steps={STEPS}", "--eval_examples=60", "--probe_epochs=1", "--connect_seconds=120",
]
pytestmark = pytest.mark.slow


def command(run_dir, *flags, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", **environment}
    words = [sys.executable, "-m", "tf_directpred.main", f"--run_dir={run_dir}", *TINY, *flags]
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def workers(folder, *flags):
    """The chief, which writes to folder/chief, and a worker that is told to write elsewhere."""
    with socket.create_server(("localhost", 0)) as one, socket.create_server(("localhost", 0)) as two:
        addresses = [f"localhost:{server.getsockname()[1]}" for server in (one, two)]
    tasks = [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}) for i in range(2)]
    return [command(folder / name, *flags, TF_CONFIG=task) for name, task in zip(("chief", "other"), tasks)]


def finish(processes):
    """Exit codes and outputs; no process outlives it."""
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def state(folder):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "chief" / "checkpoints"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name.startswith("state")}


def losses(folder):
    with open(folder / "chief" / "history.csv") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    codes, outputs = finish(workers(folder))
    assert codes == [0, 0], outputs
    return folder, outputs


def test_only_the_chief_writes(whole):
    folder, outputs = whole
    written = {path.name for path in (folder / "chief").iterdir()}
    assert {"flags.cfg", "metrics.json", "history.csv", "checkpoints", "encoder", "encoder.keras"} <= written
    assert not (folder / "other").exists()
    assert "top-1 accuracy" in outputs[0] and outputs[1] == ""


def test_evaluation_needs_no_other_worker(whole):
    process = command(whole[0] / "chief", "--mode=evaluate")
    codes, outputs = finish([process])
    assert codes == [0] and "top-1 accuracy" in outputs[0], outputs


@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "other"])
def test_a_killed_worker_costs_nothing(whole, victim, tmp_path):
    pair = workers(tmp_path)
    index = tmp_path / "chief" / "checkpoints" / "checkpoint"
    deadline = time.monotonic() + 300
    while not (index.is_file() and f"ckpt-{STEPS // 3}" in index.read_text()):
        assert time.monotonic() < deadline and pair[victim].poll() is None
        time.sleep(0.02)
    os.kill(pair[victim].pid, signal.SIGKILL)
    codes, outputs = finish(pair)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 3, outputs
    assert "another worker is gone" in outputs[1 - victim]
    codes, outputs = finish(workers(tmp_path, "--resume"))
    assert codes == [0, 0] and "resuming at step" in outputs[0], outputs
    uninterrupted = state(whole[0])
    for name, value in state(tmp_path).items():
        np.testing.assert_array_equal(value, uninterrupted[name], err_msg=name)
    assert losses(tmp_path) == losses(whole[0])


def test_a_signal_to_one_worker_stops_both(tmp_path):
    pair = workers(tmp_path)
    index = tmp_path / "chief" / "checkpoints" / "checkpoint"
    while not index.is_file():
        assert pair[1].poll() is None
        time.sleep(0.02)
    os.kill(pair[1].pid, signal.SIGTERM)
    codes, outputs = finish(pair)
    assert codes == [128 + signal.SIGTERM] * 2 and all("--resume continues" in text for text in outputs), outputs


def test_a_refused_run_folder_ends_every_worker(whole):
    codes, outputs = finish(workers(whole[0]))
    assert codes[0] == 2 and "holds a run, finished" in outputs[0]
    assert codes[1] == 3 and "another worker is gone" in outputs[1]


@pytest.mark.parametrize(
    "flags, config, words",
    [
        (["--connect_seconds=2"], {"worker": ["localhost:{port}", "localhost:1"]}, "No answer from worker 1"),
        ([], {"worker": "localhost:1"}, "TF_CONFIG"),
        (["--strategy=mirrored", "--devices=3"], None, "batch_size must be a multiple of 3"),
        (["--strategy=mirrored", "--devices=2", "--jit_compile"], None, "jit_compile does not work across CPU devices"),
        (["--strategy=tpu", "--tpu=local"], None, "The TPU 'local' cannot be used"),
        (["--strategy=tpu", "--tpu=grpc://localhost:1", "--connect_seconds=20"], None, "The TPU 'grpc://localhost:1'"),
    ],
)
def test_one_line_and_exit_code_2(flags, config, words, tmp_path):
    environment = {}
    if config:
        with socket.create_server(("localhost", 0)) as free:
            text = json.dumps({"cluster": config, "task": {"type": "worker", "index": 0}})
            environment["TF_CONFIG"] = text.replace("{port}", str(free.getsockname()[1]))
    codes, outputs = finish([command(tmp_path / "run", *flags, **environment)])
    assert codes == [2] and words in outputs[0], outputs
    assert len(outputs[0].strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
