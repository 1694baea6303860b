"""Whole runs of a tiny configuration: the same numbers again, and after an interruption."""

import csv
import dataclasses
import json
import signal

import keras
import numpy as np
import pytest

from tf_directpred import train as training
from tf_directpred.callbacks import Throughput
from tf_directpred.checkpoint import Checkpoint
from tf_directpred.config import Config
from tf_directpred.run_folder import RunFolder
from tf_directpred.train import Experiment, Interrupted, restored, train

# 350 of the 1,400 scans a batch: four steps an epoch. Dropout: random layers have a state too.
TINY = Config(
    run_dir="unused", dataset="digits(clutter=False)", encoder="convnet(widths=(4,), strides=(8,))",
    projector="mlp(hidden=(8,), output=6)", predictor="directpred(update_every=2, use_bias=True)",
    batch_size=350, epochs=2, learning_rate=0.1, learning_rate_schedule="cosine", warmup_epochs=0.5,
    target_momentum=0.9, target_momentum_schedule="cosine", target_init="random", seed=3, checkpoint_minutes=1000.0,
)


@pytest.fixture(scope="module")
def experiment():
    return Experiment(TINY)


def trained(experiment, path):
    folder = RunFolder(path)
    folder.claim(experiment.config.flagfile(), resume=True)
    model = experiment.model()
    return model, folder, train(experiment, model, folder)


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    """The run without interruption: model, folder, numbers."""
    return trained(experiment, tmp_path_factory.mktemp("whole"))


def interrupted(experiment, path, monkeypatch, step, number=signal.SIGTERM):
    """A run that a signal stops after `step` steps; its folder."""

    class Stopping(Throughput):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if self.model.optimizer.iterations == step:
                signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(training, "Throughput", Stopping)
        with pytest.raises(Interrupted) as stop:
            trained(experiment, path)
    assert (stop.value.number, stop.value.step) == (number, step)
    return RunFolder(path)


def state(model):
    return [*model.variables, *model.optimizer.variables, *(v for m in model.metrics for v in m.variables)]


def assert_equal_models(found, wanted):
    for a, b in zip(state(found), state(wanted), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=b.path)


def history(folder):
    with open(folder.history, newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def test_a_run_writes_its_history_and_numbers(whole):
    model, folder, numbers = whole
    rows = history(folder)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert numbers["steps"] == 8 and numbers["loss"] == float(rows[1]["loss"])
    assert np.isfinite(numbers["loss"]) and numbers["images_per_second"] > 0
    assert model.predictor.step == 8 and np.any(np.array(model.predictor.correlation) != 0)


def test_the_same_seed_gives_the_same_run(experiment, whole, tmp_path):
    model, folder, numbers = trained(Experiment(TINY), tmp_path / "again")
    assert_equal_models(model, whole[0])
    assert history(folder) == history(whole[1])


def test_another_seed_gives_another_run(whole):
    other = Experiment(dataclasses.replace(TINY, seed=4)).model()
    kernels = [v for v in other.online.variables if "kernel" in v.path]
    fresh = [v for v in Experiment(TINY).model().online.variables if "kernel" in v.path]
    assert kernels and all(not np.array_equal(a, b) for a, b in zip(kernels, fresh))


def test_interrupted_and_resumed_equals_uninterrupted(experiment, whole, tmp_path, monkeypatch):
    """In mid-epoch, between two epochs, one step before the end: weights, slots, F, W_p, metrics, history."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for step, number in ((3, signal.SIGINT), (4, signal.SIGTERM), (7, signal.SIGTERM)):
        folder = interrupted(experiment, tmp_path / "run", monkeypatch, step, number)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    model, _, numbers = trained(experiment, folder.path)
    assert_equal_models(model, whole[0])
    assert history(folder) == history(whole[1])
    assert numbers["loss"] == whole[2]["loss"] and numbers["steps"] == 8


def test_views_made_on_the_device_train_the_same_and_resume_exactly(whole, tmp_path, monkeypatch):
    on_device = Experiment(dataclasses.replace(TINY, augment_on="device"))
    model, folder, _ = trained(on_device, interrupted(on_device, tmp_path / "run", monkeypatch, 3).path)
    assert model.augment is not None and whole[0].augment is None
    assert_equal_models(model, whole[0])
    assert history(folder) == history(whole[1])


def test_views_are_made_on_an_accelerator_if_there_is_one(monkeypatch):
    monkeypatch.setattr(training.distribution, "has_accelerator", lambda: True)
    assert Experiment(TINY).augment.seed == 3
    assert Experiment(dataclasses.replace(TINY, augment_on="host")).augment is None


def test_a_signal_after_the_last_step_loses_nothing(experiment, whole, tmp_path, monkeypatch):
    """It arrives while the k-NN accuracy of the last epoch is measured."""

    class StoppedKNN(keras.callbacks.Callback):
        def __init__(self, train, test, every):
            super().__init__()

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "OnlineKNN", StoppedKNN)
    knn = Experiment(dataclasses.replace(TINY, knn_every=1))
    with pytest.raises(Interrupted) as stop:
        trained(knn, tmp_path / "run")
    assert stop.value.step == 8
    assert_equal_models(restored(knn, RunFolder(tmp_path / "run")), whole[0])


def test_a_trained_run_whose_evaluation_was_interrupted_resumes(experiment, whole):
    model, folder, numbers = trained(experiment, whole[1].path)
    assert numbers == pytest.approx(whole[2])
    assert_equal_models(model, whole[0])


def test_steps_cap_the_run(tmp_path):
    capped = Experiment(dataclasses.replace(TINY, steps=3))
    model, folder, numbers = trained(capped, tmp_path / "capped")
    assert numbers["steps"] == model.optimizer.iterations == 3
    assert [row["epoch"] for row in history(folder)] == ["0"]
    again = trained(capped, folder.path)[2]  # a part of an epoch was asked for: nothing is left to train
    assert again["steps"] == 3 and again["loss"] == numbers["loss"]
    json.dumps(numbers, allow_nan=False)


def test_an_accuracy_of_every_second_epoch_is_in_the_history(tmp_path):
    experiment = Experiment(dataclasses.replace(TINY, knn_every=2, eval_examples=40, tensorboard=True))
    _, folder, _ = trained(experiment, tmp_path / "run")
    accuracies = [row["knn_top1"] for row in history(folder)]
    assert accuracies[0] == "" and 0 <= float(accuracies[1]) <= 100
    assert any((folder.path / "tensorboard").rglob("events*"))


def test_restored_is_the_trained_model(experiment, whole):
    assert_equal_models(restored(experiment, whole[1]), whole[0])


def test_restoring_leaves_the_checkpoint_as_it_was(experiment, whole):
    def contents():
        return {file.name: file.read_bytes() for file in whole[1].checkpoints.iterdir()}

    before = contents()
    restored(experiment, whole[1])
    assert contents() == before


@pytest.mark.parametrize(
    "change",
    [
        {"projector": "mlp(hidden=(8,), output=5)"},
        {"encoder": "convnet(widths=(4, 4), strides=(8, 1))"},
        {"predictor": "linear"},
        {"predictor": "identity"},
        {"target": "none"},
    ],
    ids=lambda change: next(iter(change.values())),
)
def test_a_checkpoint_of_another_model_is_refused(whole, change):
    with pytest.raises(ValueError, match="The checkpoint .*ckpt-8 cannot be read into this model") as caught:
        restored(Experiment(dataclasses.replace(TINY, **change)), whole[1])
    assert "\n" not in str(caught.value)


def test_a_cut_off_checkpoint_is_refused(experiment, whole, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(TINY.flagfile())
    model = experiment.model()
    checkpoint = Checkpoint(model, folder.checkpoints)
    checkpoint.save()
    data = next(folder.checkpoints.glob("*.data*"))
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match="ckpt-0 cannot be read into this model") as caught:
        checkpoint.restore()
    assert "\n" not in str(caught.value)


def test_two_checkpoints_are_kept_and_none_is_written_twice(experiment, tmp_path):
    model = experiment.model()
    checkpoint = Checkpoint(model, tmp_path)
    for step in (0, 1, 2):
        model.optimizer.iterations.assign(step)
        checkpoint.save()
    assert {f.name for f in tmp_path.glob("*.index")} == {"ckpt-1.index", "ckpt-2.index"}
    written = (tmp_path / "ckpt-2.index").stat()
    checkpoint.save()
    again = (tmp_path / "ckpt-2.index").stat()
    assert (again.st_mtime_ns, again.st_ino) == (written.st_mtime_ns, written.st_ino)


def test_no_checkpoint_is_one_line(experiment, tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint: train it first"):
        restored(experiment, RunFolder(tmp_path))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"batch_size": 1401}, r"batch_size must lie in \[1, 1400\].*Received: batch_size=1401"),
        ({"dataset": "digit"}, "Unknown dataset 'digit'. Known: .*digits"),
        ({"eval_dataset": "digit"}, "Unknown dataset 'digit'"),
        ({"augment": "cifar"}, "Unknown augmentation recipe 'cifar'"),
        ({"encoder": "resnet"}, "Unknown encoder 'resnet'. Known: .*resnet18"),
        ({"projector": "mlps"}, "Unknown projector 'mlps'"),
        ({"predictor": "directpred(rho=1.2)"}, r"rho must lie in \[0, 1\).*Received: rho=1.2"),
        ({"loss": "cos"}, "Unknown loss 'cos'"),
        ({"optimizer": "sgd(learning_rate=0.1)"}, "pass --learning_rate"),
        ({"optimizer": "lars(weight_decay=0.1)"}, "pass --weight_decay"),
        ({"predictor_optimizer": "sgd(momentun=0.5)"}, "takes no argument momentun"),
        ({"predictor_optimizer": "sgd"}, "no trained weights"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_flags_that_cannot_be_fail_before_training(change, words):
    flags = {"predictor": "directpred", **change}
    with pytest.raises(ValueError, match=words):
        Experiment(dataclasses.replace(TINY, **flags)).model()


def test_rates_follow_the_flags():
    scaled = dataclasses.replace(
        TINY, scale_learning_rate=True, batch_size=128, learning_rate_schedule="constant", warmup_epochs=0.0,
        predictor="linear", predictor_optimizer="sgd(learning_rate=0.7)",
    )
    model = Experiment(scaled).model()
    rates = {optimizer.learning_rate.numpy() for optimizer in model.optimizer.optimizers}
    assert rates == {np.float32(0.05), np.float32(0.7)}
