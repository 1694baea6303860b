"""Callbacks of a run, driven by hand as `fit` drives them."""

import csv
import signal
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_directpred import callbacks
from tf_directpred.callbacks import ContinuedEpoch, HistoryFile, OnlineKNN, SaveAndStop, Throughput
from tiny_model import built, views


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now.seconds)
    return now


def run_epoch(callback, clock, seconds, together=1):
    """One epoch of executions, of so many steps together, that took so many seconds each; the logs of its end."""
    for execution, duration in enumerate(seconds, start=1):
        clock.seconds += duration
        callback.on_train_batch_end(execution * together - 1, {})
    logs = {}
    callback.on_epoch_end(0, logs)
    return logs


def test_throughput_leaves_out_tracing_and_what_lies_between_epochs(clock):
    throughput = Throughput(batch_size=32)
    assert throughput.images_per_second is None
    assert run_epoch(throughput, clock, [60.0, 9.0, 7.0, 0.5, 0.5]) == {"images_per_second": 64.0}
    clock.seconds += 1000.0  # a look at the k-NN accuracy
    assert run_epoch(throughput, clock, [5.0, 5.0, 5.0, 0.5]) == {"images_per_second": 64.0}


def test_throughput_counts_the_steps_that_are_executed_together(clock):
    throughput = Throughput(batch_size=32)
    assert run_epoch(throughput, clock, [60.0, 2.0, 2.0], together=4) == {"images_per_second": 64.0}
    assert run_epoch(throughput, clock, [5.0, 2.0], together=4) == {"images_per_second": 64.0}


def test_throughput_shows_nothing_before_it_knows(clock):
    assert run_epoch(Throughput(32), clock, [1.0, 1.0, 1.0]) == {}


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_history_has_a_column_for_what_comes_later(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    history.on_epoch_end(0, {"loss": -1.5})
    history.on_epoch_end(1, {"loss": -1.75, "knn_top1": 20.0})
    rows = read(tmp_path / "history.csv")
    assert rows == [
        {"epoch": "0", "knn_top1": "", "loss": "-1.5"},
        {"epoch": "1", "knn_top1": "20.0", "loss": "-1.75"},
    ]
    assert [f.name for f in tmp_path.iterdir()] == ["history.csv"]


def test_history_goes_on_where_another_process_stopped(tmp_path):
    first = HistoryFile(tmp_path / "history.csv")
    for epoch, loss in enumerate([-1.0, 0.1 + 0.2, -1.5]):
        first.on_epoch_end(epoch, {"images_per_second": 9.0, "loss": loss})
    second = HistoryFile(tmp_path / "history.csv")
    assert second.rows == first.rows
    second.on_epoch_end(2, {"loss": -1.75})
    assert [row["loss"] for row in read(tmp_path / "history.csv")] == ["-1.0", "0.30000000000000004", "-1.75"]


def test_a_continued_epoch_has_the_metrics_of_its_first_part():
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.0, 6.0])
    continued = ContinuedEpoch([metric])
    metric.reset_state()
    continued.on_epoch_begin(4)
    metric.update_state([7.0])
    assert metric.result() == 4.0
    metric.reset_state()
    continued.on_epoch_begin(5)  # and no other epoch has
    assert metric.count == 0.0


def test_online_knn_reads_the_encoder_every_so_often():
    images = keras.Input((2,))
    encoder = keras.Model(images, keras.layers.Dense(2, kernel_initializer="identity")(images))
    # Two classes in two directions; one of four test images lies on the wrong side.
    x = np.array([[1, 0.1], [1, -0.1], [0.1, 1], [-0.1, 1]], "float32")
    wrong = np.array([0, 0, 1, 0])
    batches = [tf.data.Dataset.from_tensor_slices((x, y)).batch(2) for y in (np.array([0, 0, 1, 1]), wrong)]
    watch = OnlineKNN(*batches, every=3)
    watch.set_model(types.SimpleNamespace(encoder=encoder))
    seen = []
    for epoch in range(6):
        seen.append({})
        watch.on_epoch_end(epoch, seen[-1])
    assert seen[:2] == [{}, {}] and seen[3:5] == [{}, {}]
    assert seen[2] == seen[5] and set(seen[2]) == {"knn_top1"} and 0 <= seen[2]["knn_top1"] <= 100


class Saves:
    """Stands in for a checkpoint."""

    def __init__(self):
        self.count = 0

    def save(self):
        self.count += 1


def stopper(minutes, clock):
    callback = SaveAndStop(Saves(), minutes)
    callback.set_model(types.SimpleNamespace(stop_training=False))
    return callback


@pytest.mark.parametrize("minutes, saves", [(0.0, 6), (1.0, 3), (100.0, 0)])
def test_checkpoints_are_so_many_minutes_apart(minutes, saves, clock):
    callback = stopper(minutes, clock)
    for batch in range(6):
        clock.seconds += 31.0
        callback.on_train_batch_end(batch)
    assert callback.checkpoint.count == saves


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_after_the_step_that_it_came_in(number, clock):
    received = []
    before = signal.signal(number, lambda *args: received.append(args[0]))
    try:
        with stopper(100.0, clock) as callback:
            callback.on_train_batch_end(0)
            assert not callback.model.stop_training and callback.received is None
            signal.raise_signal(number)
            assert not callback.model.stop_training  # the step under way is finished first
            callback.on_train_batch_end(1)
            assert callback.model.stop_training and callback.received == number
            assert callback.checkpoint.count == 1 and not received
            signal.raise_signal(number)  # twice means now: the handler from before decides
            assert received == [number]
        signal.raise_signal(number)
        assert received == [number, number]
    finally:
        signal.signal(number, before)


def test_a_compiled_step_that_diverges_stops_training_and_is_not_saved():
    model = built(compiled={"jit_compile": True})
    batches = [views(step) for step in range(5)]
    batches[2]["view1"][0] = np.nan  # XLA passes in silence what the plain graph refuses
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature={k: tf.TensorSpec(v.shape, v.dtype) for k, v in batches[0].items()}
    )
    saved = []
    checkpoint = types.SimpleNamespace(save=lambda: saved.append(int(model.optimizer.iterations.numpy())))
    stopper = SaveAndStop(checkpoint, minutes=0)
    model.fit(data, verbose=0, callbacks=[stopper])
    assert stopper.diverged and saved == [1, 2] and model.optimizer.iterations.numpy() == 3
    assert np.isfinite(model.predictor.correlation.numpy()).all()
