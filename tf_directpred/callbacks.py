"""What happens beside training: speed, k-NN accuracy as it grows, history, checkpoints and a clean stop."""

import csv
import math
import os
import signal
import time

import keras
import tensorflow as tf

from tf_directpred.probes.features import extract
from tf_directpred.probes.knn import knn


class Throughput(keras.callbacks.Callback):
    """Shows images per second in the progress bar and records them in the history.

    Args:
        batch_size: images a step.
    """

    WARMUP = 2  # steps that trace and compile

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size, self.steps, self.seconds = batch_size, 0, 0.0
        self._last = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if self._last is not None:  # with steps_per_execution, `batch` rises by more than one
            last_batch, then = self._last
            self.steps, self.seconds = self.steps + batch - last_batch, self.seconds + now - then
        if batch >= self.WARMUP or self._last is not None:
            self._last = batch, now
        if logs is not None and self.seconds:
            logs["images_per_second"] = self.images_per_second

    def on_epoch_end(self, epoch, logs=None):
        self._last = None  # what other callbacks do between epochs is not training
        if logs is not None and self.seconds:
            logs["images_per_second"] = self.images_per_second

    @property
    def images_per_second(self):
        """Mean over all steps so far but the first ones; None before there are any."""
        return self.batch_size * self.steps / self.seconds if self.seconds else None


class OnlineKNN(keras.callbacks.Callback):
    """Adds the k-NN accuracy of the encoder to the logs.

    Args:
        train, test: labelled batches, iterables of (images as the encoder takes them, labels).
        every: epochs between two looks.
    """

    def __init__(self, train, test, every):
        super().__init__()
        self.train_batches, self.test_batches, self.every = train, test, every

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None and (epoch + 1) % self.every == 0:
            encoder = self.model.encoder
            logs["knn_top1"] = knn(*extract(encoder, self.train_batches), *extract(encoder, self.test_batches))["top1"]


class HistoryFile(keras.callbacks.Callback):
    """Keeps the logs of all epochs in a CSV file, one row an epoch; one that is trained again replaces its row.

    Keras's CSVLogger takes its columns from the first epoch of each `fit`, which loses a number that comes
    every fifth epoch and misplaces those of a resumed run.

    Args:
        path: a `pathlib.Path`; the rows that it holds are kept.
    """

    def __init__(self, path):
        super().__init__()
        self.path, self.rows = path, {}
        if path.is_file():
            with open(path, newline="") as file:
                rows = {int(row.pop("epoch")): row for row in csv.DictReader(file)}
            self.rows = {epoch: {key: float(v) for key, v in row.items() if v} for epoch, row in rows.items()}

    def on_epoch_end(self, epoch, logs=None):
        self.rows[epoch] = dict(logs or {})
        columns = sorted({key for row in self.rows.values() for key in row})
        temporary = self.path.with_suffix(".new")
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *columns])
            writer.writeheader()
            writer.writerows({"epoch": number, **row} for number, row in sorted(self.rows.items()))
        os.replace(temporary, self.path)


class Profile(keras.callbacks.Callback):
    """Writes a TensorBoard profile of some steps.

    Args:
        folder: where TensorBoard will find it.
        steps: range of the optimizer's steps, the first 0. Steps that are executed together are profiled together.
    """

    def __init__(self, folder, steps):
        super().__init__()
        self.folder, self.steps, self._running = folder, steps, False

    def on_train_batch_begin(self, batch, logs=None):
        if not self._running and int(self.model.optimizer.iterations.numpy()) in self.steps:
            tf.profiler.experimental.start(str(self.folder))
            self._running = True

    def on_train_batch_end(self, batch, logs=None):
        if self._running and int(self.model.optimizer.iterations.numpy()) not in self.steps:
            self._stop()

    def on_train_end(self, logs=None):
        if self._running:
            self._stop()

    def _stop(self):
        tf.profiler.experimental.stop()
        self._running, self.steps = False, range(0)


class ContinuedEpoch(keras.callbacks.Callback):
    """Gives the first epoch the metrics that it had when it was interrupted; `fit` resets them.

    Args:
        metrics: the model's metrics, in the state to go on from.
    """

    def __init__(self, metrics):
        super().__init__()
        self._values = [(v, v.numpy()) for metric in metrics for v in metric.variables]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self._values:
            variable.assign(value)
        self._values = []


class SaveAndStop(keras.callbacks.Callback):
    """Saves the run's state now and then, and once more when a signal asks training to stop.

    A state whose loss is not finite is never saved: it stops training (`diverged`).

    Args:
        checkpoint: a `Checkpoint` of the model.
        minutes: time between two saves; 0: after every step.
        agree: function of a number -> the largest that any worker gave: all stop at the same step.
    """

    def __init__(self, checkpoint, minutes, agree=lambda number: number):
        super().__init__()
        self.checkpoint, self.seconds, self.agree = checkpoint, 60 * minutes, agree
        self.received, self.diverged = None, False
        self._saved_at = time.monotonic()

    def __enter__(self):
        self._previous = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number, frame):
        self.received = number
        # A second signal means now: what was there before us decides.
        signal.signal(number, self._previous[number])

    def on_train_batch_end(self, batch, logs=None):
        # Outside XLA the step itself refuses a loss that is not finite; compiled, it cannot, and is stopped here.
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            self.diverged = self.model.stop_training = True
            return
        self.received = self.agree(self.received or 0) or None
        if self.received is not None:
            self.model.stop_training = True
        if self.received is not None or time.monotonic() - self._saved_at >= self.seconds:
            self.checkpoint.save()
            self._saved_at = time.monotonic()
