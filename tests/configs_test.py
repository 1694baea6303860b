"""Every shipped flagfile: it parses, its parts can be made, and the ones with embedded data train."""

import dataclasses
import itertools
import json
import pathlib
import sys

import numpy as np
import pytest
from command_line import parsed

from tf_directpred.config import Config

CONFIGS = sorted((pathlib.Path(__file__).parent.parent / "configs").glob("*.cfg"))
FIELDS = {field.name for field in dataclasses.fields(Config)}


def values(path):
    """Flags and their values as the file has them."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(line.removeprefix("--").partition("=")[::2] for line in lines if line.startswith("--"))


def names(paths):
    return [path.stem for path in paths]


EMBEDDED = [path for path in CONFIGS if values(path).get("dataset", "").startswith("digits")]
TRAINING = [path for path in CONFIGS if values(path).get("mode", "train") == "train"]


def test_the_flagfiles_are_found():
    assert {"directpred_digits", "byol_digits", "simsiam_digits", "linear_digits"} <= set(names(EMBEDDED))


@pytest.mark.parametrize("path", CONFIGS, ids=names(CONFIGS))
def test_a_flagfile_parses_into_what_it_says(path):
    config = parsed(f"--flagfile={path}", "--run_dir=r")
    written = values(path)
    assert set(written) <= FIELDS
    for name, text in written.items():
        value = getattr(config, name)
        shown = str(value).lower() if isinstance(value, bool) else value
        assert shown == type(shown)(text), name


@pytest.mark.parametrize("path", CONFIGS, ids=names(CONFIGS))
def test_a_flagfile_opens_with_what_it_is_and_its_command(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header[0]) > 10 and path.read_text().startswith("#")
    assert any(f"--flagfile=configs/{path.name}" in line for line in header)


@pytest.mark.parametrize("path", TRAINING, ids=names(TRAINING))
def test_the_parts_of_a_training_flagfile_exist(path):
    """Names of the registries and their arguments, without the data."""
    from tf_directpred.data import SOURCES, find_recipe
    from tf_directpred.losses import LOSSES
    from tf_directpred.networks import ENCODERS, PROJECTORS
    from tf_directpred.optim import OPTIMIZERS
    from tf_directpred.predictors import PREDICTORS
    from tf_directpred.registry import parse_spec

    config = parsed(f"--flagfile={path}", "--run_dir=r")
    assert parse_spec(config.dataset)[0] in SOURCES.names()
    LOSSES.create(config.loss)
    PREDICTORS.create(config.predictor)
    OPTIMIZERS.create(config.optimizer, learning_rate=1.0)
    if config.predictor_optimizer:
        OPTIMIZERS.create(config.predictor_optimizer, learning_rate=1.0)
    if config.augment:
        find_recipe(config.augment)
    assert parse_spec(config.encoder)[0] in ENCODERS.names()
    PROJECTORS.create(config.projector, input_dim=8)


@pytest.mark.parametrize("path", EMBEDDED, ids=names(EMBEDDED))
def test_an_embedded_flagfile_trains(path, tmp_path, monkeypatch):
    from tf_directpred import main

    short = ["--steps=3", "--eval_examples=64", "--probe_epochs=1"]
    config = parsed(f"--flagfile={path}", f"--run_dir={tmp_path / 'run'}", *short)
    monkeypatch.setattr(main.configuration, "from_flags", lambda: config)
    exported = path is EMBEDDED[0]
    if not exported:
        monkeypatch.setattr(main, "_export", lambda *parts: None)
    assert main.run(sys.argv[:1]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["steps"] == 3 and np.isfinite(metrics["loss"])
    assert metrics["eval_train_examples"] == metrics["eval_test_examples"] == 64
    probes = itertools.product(("", "init_", "pixel_"), ("knn", "linear"), ("top1", "top5"))
    keys = {f"{prefix}{probe}_{top}" for prefix, probe, top in probes}
    assert keys | {"grey_knn_top1", "feature_std", "effective_rank", "images_per_second"} <= set(metrics)
    if exported:
        check_export(tmp_path / "run")


def check_export(run):
    """Both files, of digits that the run never saw, give the same representations for any number of images."""
    import keras
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    encoder = keras.models.load_model(run / "encoder.keras")
    serve = tf.saved_model.load(run / "encoder").signatures["serving_default"]
    for count in (1, 3):
        (representation,) = serve(images=tf.constant(images[:count])).values()
        assert representation.shape == (count, encoder.output_shape[-1])
        np.testing.assert_allclose(encoder.predict(images[:count], verbose=0), representation, atol=1e-5)
