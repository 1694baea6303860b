"""Config -> data, model, optimizer -> fit, with exact resume."""

import functools
import math
import sys

import keras
import tensorflow as tf

from tf_directpred import distribution
from tf_directpred.callbacks import ContinuedEpoch, HistoryFile, OnlineKNN, Profile, SaveAndStop, Throughput
from tf_directpred.checkpoint import Checkpoint
from tf_directpred.data import (
    SOURCES, TwoViews, find_recipe, image_batches, normalize, steps_per_epoch, unreadable_image, view_batches,
)
from tf_directpred.model import NonContrastive
from tf_directpred.networks import ENCODERS, PROJECTORS
from tf_directpred.optim import OPTIMIZERS, CosineMomentum, learning_rate_schedule
from tf_directpred.predictors import PREDICTORS


class Interrupted(Exception):
    """Training was asked to stop by a signal, and its state is saved.

    Args:
        number: the signal's number.
        step: the optimizer step that training reached.
    """

    def __init__(self, number, step):
        super().__init__(f"stopped by signal {number} at step {step}")
        self.number, self.step = number, step


class Experiment:
    """The parts of a run, built from its flags: the same flags and seed give the same parts.

    Args:
        config: a `Config`.
        strategy: what to train under, of `distribution.connect`; default: one device.

    Attributes:
        source: the images to train on.
        evaluation_source: the labelled set that probes read: the same, or `eval_dataset`.

    Raises:
        ValueError: a spec or a combination of flags that cannot be.
    """

    def __init__(self, config, strategy=None):
        self.config = config
        self.strategy = strategy or tf.distribute.get_strategy()
        distribution.check_step(self.strategy, config.batch_size, config.accumulate, config.jit_compile)
        self.source = self.evaluation_source = SOURCES.create(config.dataset, data_dir=config.data_dir)
        if config.eval_dataset is not None:
            self.evaluation_source = SOURCES.create(config.eval_dataset, data_dir=config.data_dir)
        self.recipe = find_recipe(config.augment or self.source.recipe)
        on_device = {"host": False, "device": True, "auto": distribution.has_accelerator()}[config.augment_on]
        self.augment = TwoViews(self.recipe, seed=config.seed) if on_device else None
        self.steps_per_epoch = steps_per_epoch(self.source, config.batch_size)
        self.total_steps = min(config.epochs * self.steps_per_epoch, config.steps or math.inf)
        self._check_steps()

    def _check_steps(self):
        together, profiled = self.config.steps_per_execution, self.config.profiled_steps()
        whole = math.gcd(self.steps_per_epoch, self.total_steps)  # what an epoch, also a last one cut short, is made of
        if whole % together:
            allowed = ", ".join(str(k) for k in range(1, whole + 1) if whole % k == 0)
            raise ValueError(
                f"steps_per_execution must divide the {self.steps_per_epoch} steps of an epoch and the {self.total_steps} "
                f"of the run: {allowed}. Received: steps_per_execution={together}"
            )
        if profiled and profiled.start >= self.total_steps:
            raise ValueError(
                f"profile must start before the run's {self.total_steps} steps are over. Received: profile={self.config.profile}"
            )

    def model(self):
        """A compiled `NonContrastive` with its starting weights, made under the strategy in scope."""
        config = self.config
        synchronized = config.sync_batch_norm and tf.distribute.get_strategy().num_replicas_in_sync > 1
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.mixed_precision)
        encoder = ENCODERS.create(config.encoder, input_shape=(None, None, 3), synchronized=synchronized)
        y = encoder.output_shape[-1]
        cosine_target = config.target_momentum_schedule == "cosine"
        model = NonContrastive(
            encoder,
            PROJECTORS.create(config.projector, input_dim=y, synchronized=synchronized),
            PREDICTORS.create(config.predictor, synchronized=synchronized),
            target=None if config.target == "none" else config.target,
            target_momentum=(
                CosineMomentum(config.target_momentum, self.total_steps) if cosine_target else config.target_momentum
            ),
            loss=config.loss,
            stop_gradient=config.stop_gradient,
            symmetrize=config.symmetrize,
            target_init=config.target_init,
            accumulate=config.accumulate,
            rematerialize=config.rematerialize,
            augment=self.augment,
        )
        model.compile(
            *self._optimizers(), jit_compile=config.jit_compile, steps_per_execution=config.steps_per_execution
        )
        return model

    def batches(self, start, part=(0, 1)):
        """What `model()` trains on from step `start`: views, or images where it makes the views itself."""
        make = image_batches if self.augment else view_batches
        return make(self.source, self.recipe, self.config.batch_size, self.config.seed, start=start, part=part)

    def _optimizers(self):
        config = self.config
        peak = config.learning_rate * (config.batch_size / 256 if config.scale_learning_rate else 1)
        rate = learning_rate_schedule(
            config.learning_rate_schedule, peak, self.total_steps, round(config.warmup_epochs * self.steps_per_epoch)
        )
        decay = config.weight_decay
        optimizer = OPTIMIZERS.create(
            config.optimizer, fixed=("learning_rate", "weight_decay"), learning_rate=rate, weight_decay=decay
        )
        if config.predictor_optimizer is None:
            return optimizer, None
        return optimizer, OPTIMIZERS.create(config.predictor_optimizer, learning_rate=peak, weight_decay=decay)

    def labelled_images(self, split):
        """Evaluation images (uint8) and labels of a split, in batches, at most `eval_examples`."""
        return self.evaluation_source.splits[split].batches(256, self.config.eval_examples, self.config.seed)

    def labelled_batches(self, split):
        """The same images, normalised as the encoder takes them, and labels."""
        return self.labelled_images(split).map(
            lambda images, labels: (normalize(images, self.recipe), labels), tf.data.AUTOTUNE
        )


def train(experiment, model, folder):
    """Trains a run to its last step, from its newest checkpoint if it has one.

    Args:
        experiment: an `Experiment`.
        model: its `model()`, made in the strategy's scope, which is trained in place.
        folder: the `RunFolder`, claimed by this run; of many workers only the chief touches it.

    Returns:
        dict of numbers: `steps`, and of the last epoch `loss` and `images_per_second` (None: too few steps to tell).
        Empty for a worker that is not the chief.

    Raises:
        Interrupted: SIGINT or SIGTERM arrived, here or at another worker; the state is saved.
        distribution.WorkerLost: another worker is gone.
        ValueError: the loss or the images are not finite.
    """
    with distribution.watching_workers(experiment.strategy):
        chief = distribution.is_chief(experiment.strategy)
        checkpoint = Checkpoint(model, folder.checkpoints if chief else None)
        if checkpoint.restore():
            print(f"resuming at step {checkpoint.step()} of {experiment.total_steps}", flush=True)
        distribution.copy_from_chief(experiment.strategy, checkpoint.variables)
        callbacks = []
        if checkpoint.step() % experiment.steps_per_epoch:
            callbacks.append(ContinuedEpoch(model.metrics))
        if not chief:
            _fit(experiment, model, checkpoint, callbacks, verbose=0)
            return {}
        history = HistoryFile(folder.history)
        callbacks += [*_observers(experiment, folder), history]
        _fit(experiment, model, checkpoint, callbacks, verbose=1 if sys.stdout.isatty() else 2)
    last = history.rows[max(history.rows)]
    return {"steps": checkpoint.step(), "loss": last["loss"], "images_per_second": last.get("images_per_second")}


def _observers(experiment, folder):
    """Callbacks that measure, before the one that writes down what they found."""
    config = experiment.config
    callbacks = [Throughput(config.batch_size)]
    if config.knn_every and experiment.evaluation_source.test_split:
        splits = experiment.evaluation_source.train_split, experiment.evaluation_source.test_split
        callbacks.append(OnlineKNN(*map(experiment.labelled_batches, splits), every=config.knn_every))
    if config.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(folder.path / "tensorboard", update_freq=50))
    if profiled := config.profiled_steps():
        callbacks.append(Profile(folder.path / "tensorboard", profiled))
    return callbacks


def _fit(experiment, model, checkpoint, callbacks, verbose):
    config, strategy = experiment.config, experiment.strategy
    agree = functools.partial(distribution.agree, strategy)
    with SaveAndStop(checkpoint, config.checkpoint_minutes, agree) as stopper:
        for epoch, epochs, steps in _segments(checkpoint.step(), experiment.total_steps, experiment.steps_per_epoch):
            batches = functools.partial(experiment.batches, checkpoint.step())
            try:
                model.fit(
                    distribution.distributed(strategy, batches), initial_epoch=epoch, epochs=epoch + epochs,
                    steps_per_epoch=steps, shuffle=False, callbacks=[*callbacks, stopper], verbose=verbose,
                )
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(f"Training stopped at step {checkpoint.step()}: {_first_cause(error)}") from error
            if stopper.diverged:
                raise ValueError(
                    f"Training stopped at step {checkpoint.step()}: the loss is not finite; checkpoints are from before"
                )
            if received := agree(stopper.received or 0):
                checkpoint.save()  # the signal may have come after the last step
                raise Interrupted(received, checkpoint.step())
    checkpoint.save()


def restored(experiment, folder):
    """The model of a run with the weights of its newest checkpoint.

    Raises:
        ValueError: the run has no checkpoint, or one that cannot be read.
    """
    model = experiment.model()
    if not Checkpoint(model, folder.checkpoints).restore():
        raise ValueError(f"{folder.path} holds no checkpoint: train it first")
    return model


def _segments(start, total, steps_per_epoch):
    """(epoch, epochs, steps an epoch) of each `fit` call: partial epochs, at either end, are calls of their own."""
    while start < total:
        epoch, offset = divmod(start, steps_per_epoch)
        whole = 0 if offset else (total - start) // steps_per_epoch
        steps = steps_per_epoch if whole else min(steps_per_epoch - offset, total - start)
        yield epoch, whole or 1, steps
        start += (whole or 1) * steps


def _first_cause(error):
    """The part of a TensorFlow error that says what is wrong, without the graph's node names."""
    if image := unreadable_image(error):
        return image
    message = (error.message or str(error)).strip().splitlines()[0]
    return message.split(" [[")[0].split(" : Tensor had")[0]
