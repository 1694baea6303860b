"""How a run executes its steps, whatever they compute: traced once, several together, profiled, rematerialized."""

import csv
import dataclasses
import signal

import numpy as np
import pytest

from tf_directpred import train as training
from tf_directpred.callbacks import SaveAndStop
from tf_directpred.config import Config
from tf_directpred.model import NonContrastive
from tf_directpred.run_folder import RunFolder
from tf_directpred.train import Experiment, Interrupted, train

# 1,397 of the 1,400 scans would fill a fifth batch of an epoch in part: it is dropped.
TINY = Config(
    run_dir="unused", dataset="digits(clutter=False)", encoder="convnet(widths=(4,), strides=(8,))",
    projector="mlp(hidden=(8,), output=6)", batch_size=349, epochs=2, learning_rate=0.1, seed=3,
    checkpoint_minutes=1000.0,
)


def trained(path, **flags):
    """A run, resumed where it was interrupted: model, folder, numbers."""
    experiment = Experiment(dataclasses.replace(TINY, **flags))
    folder = RunFolder(path)
    folder.claim(experiment.config.flagfile(), resume=True)
    model = experiment.model()
    return model, folder, train(experiment, model, folder)


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *model.loss_metric.variables]
    return [np.array(v) for v in variables]


def losses(folder):
    with open(folder.history, newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    """The run that takes a step at a time; and how often its step was traced."""
    with pytest.MonkeyPatch.context() as patch:
        traces = count_traces(patch)
        model, folder, _ = trained(tmp_path_factory.mktemp("runs") / "one")
    return state(model), losses(folder), len(traces)


def count_traces(patch):
    traces, step = [], NonContrastive.train_step

    def traced(self, data):
        traces.append(1)
        return step(self, data)

    patch.setattr(NonContrastive, "train_step", traced)
    return traces


def test_the_step_is_traced_once(one_by_one):
    assert one_by_one[2] == 1


def test_steps_executed_together_are_the_same_steps(one_by_one, tmp_path, monkeypatch):
    """Interrupted between two executions, and resumed."""

    class Stopping(SaveAndStop):
        def on_train_batch_end(self, batch, logs=None):
            assert batch % 2 == 1  # asked after every second step only
            if self.model.optimizer.iterations == 2:
                signal.raise_signal(signal.SIGTERM)
            super().on_train_batch_end(batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(training, "SaveAndStop", Stopping)
        with pytest.raises(Interrupted, match="at step 2"):
            trained(tmp_path / "run", steps_per_execution=2)
    traces = count_traces(monkeypatch)
    model, folder, numbers = trained(tmp_path / "run", steps_per_execution=2)
    assert numbers["steps"] == 8 and len(traces) == 1
    for found, wanted in zip(state(model), one_by_one[0], strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert losses(folder) == one_by_one[1]


@pytest.mark.parametrize("flags", [{"steps_per_execution": 3}, {"steps_per_execution": 2, "steps": 7}])
def test_steps_executed_together_must_fill_epochs(flags):
    with pytest.raises(ValueError, match="steps_per_execution must divide the 4 steps of an epoch and .*: 1"):
        Experiment(dataclasses.replace(TINY, **flags))


def test_a_rematerialized_run_is_the_same_run(one_by_one, tmp_path):
    model, folder, _ = trained(tmp_path / "run", rematerialize=True)
    assert model._project.layers[1].name == "convnet_rematerialized"
    for found, wanted in zip(state(model), one_by_one[0], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_profile_is_written_of_its_steps_only(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training.Profile, "on_train_end", lambda self, logs=None: None)
    for name in ("start", "stop"):
        call = getattr(training.tf.profiler.experimental, name)

        def noted(*arguments, name=name, call=call):
            seen.append((name, int(model.optimizer.iterations.numpy())))
            return call(*arguments)

        monkeypatch.setattr(training.tf.profiler.experimental, name, noted)
    experiment = Experiment(dataclasses.replace(TINY, profile="3:5"))
    folder = RunFolder(tmp_path / "run")
    folder.claim(experiment.config.flagfile())
    model = experiment.model()
    train(experiment, model, folder)
    assert seen == [("start", 3), ("stop", 5)]
    assert list((folder.path / "tensorboard").glob("plugins/profile/*/*.xplane.pb"))
    assert "profile" not in folder.flags.read_text()  # a resumed run may have another, or none
