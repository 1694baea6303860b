"""The ImageNet flagfiles on whatever images of imagenet2012 lie in TFDS_DATA_DIR: three steps, evaluated, exported."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*_imagenet_*.cfg"))
DATA = os.environ.get("TFDS_DATA_DIR", "")
STRATEGIES = ("default", "mirrored")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not pathlib.Path(DATA, "imagenet2012").is_dir(), reason="no imagenet2012 in TFDS_DATA_DIR"),
]


def test_all_six_are_there():
    names = {path.stem for path in CONFIGS}
    byol = {f"byol_imagenet_{epochs}ep" for epochs in (100, 300, 1000)}
    assert names == byol | {"directpred_imagenet_60ep", "directpred_imagenet_300ep", "simsiam_imagenet_100ep"}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_three_steps_then_evaluation_and_export(path, strategy, tmp_path):
    import keras

    run = tmp_path / "run"
    short = ["--steps=3", "--batch_size=16", "--eval_examples=32", "--probe_epochs=1"]
    words = [f"--flagfile={path}", f"--run_dir={run}", f"--data_dir={DATA}", *short, f"--strategy={strategy}"]
    if strategy == "mirrored":  # at a smaller size, since what differs is the graph, whose tracing takes long enough
        recipe = re.search("^--augment=(.*)$", path.read_text(), re.MULTILINE)[1]
        words += ["--devices=2", f"--augment={recipe}(size=64)"]
    command = [sys.executable, "-m", "tf_directpred.main", *words]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 3 and np.isfinite(metrics["loss"]) and metrics["eval_test_examples"] == 32
    encoder = keras.models.load_model(run / "encoder.keras")
    assert encoder(np.zeros((1, 224, 224, 3), "uint8")).shape == (1, 2048)
    if strategy == "default" and "directpred" in path.name:
        linear = [*command[:3], "--mode=linear", f"--run_dir={run}", "--steps=2"]
        done = subprocess.run(linear, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stderr
        assert "linear_crops_0.4_top5" in json.loads((run / "metrics.json").read_text())
