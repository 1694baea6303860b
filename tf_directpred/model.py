"""The training step of non-contrastive learning, for every method of the library.

BYOL, SimSiam, DirectPred, DirectCopy and SimCLR are points of predictor x target x loss; what differs
between them lives behind `predictor` and `loss`. The algorithm is `NonContrastive.train_step`.
"""

import keras
import tensorflow as tf

from tf_directpred.losses import LOSSES
from tf_directpred.predictors import PREDICTORS
from tf_directpred.rematerialization import rematerialized


@keras.saving.register_keras_serializable("tf_directpred")
class NonContrastive(keras.Model):
    """Learns an encoder from pairs of views, by predicting one view's projection from the other's.

        z_i  = projector(encoder(x_i)),  p_i = predictor(z_i),  t_i = stop_gradient(target(x_i))
        loss = mean_b[ loss_fn(p1, t2) + loss_fn(p2, t1) ]
        target <- tau target + (1 - tau) online        after each optimizer step

    Train with `fit` on batches `{"view1": (B, ...), "view2": (B, ...)}`; `predict` gives representations.

    Args:
        encoder: built `keras.Model`, images (B, ...) -> representations (B, D).
        projector: built `keras.Model`, representations (B, D) -> projections (B, d), or None.
        predictor: a `Predictor` layer, or its spec string.
        target: `"ema"` (BYOL, DirectPred) or None (SimSiam: the online network is its own target).
        target_momentum: tau in [0, 1], or a callable of the optimizer step (0 at the first).
        loss: spec string of `LOSSES`, or a function (prediction, target, projection) -> (B,).
        stop_gradient: False shows the collapse (or SimCLR, whose loss needs none); needs target=None.
        symmetrize: the sum of both directions; False: view 1 predicts view 2 only.
        target_init: `"copy"` starts the target at the online weights, `"random"` elsewhere, as DeepMind's
            BYOL and the DirectPred paper do.
        accumulate: k: the step takes the batch in k slices, one after the other, and holds the activations of
            one; gradients are summed, then everything moves once. Batch norm and losses that compare images
            (nt_xent, batch_normalized) see a slice at a time.
        rematerialize: hold few of the encoder's activations and compute the others twice (`rematerialized`).
        augment: layer that makes `{"view1", "view2"}` of what `fit` is given, inside the step: `data.TwoViews`; None:
            batches are views already.

    Raises:
        ValueError: an argument out of range or a network that is not built.

    Reference: Grill et al. 2020; Chen & He 2021; Tian et al. 2021.
    """

    def __init__(self, encoder, projector=None, predictor="directpred", target="ema", target_momentum=0.996,
                 loss="cosine", stop_gradient=True, symmetrize=True, target_init="copy", accumulate=1,
                 rematerialize=False, augment=None, **kwargs):
        super().__init__(**kwargs)
        if target not in ("ema", None):
            raise ValueError(f"target must be 'ema' or None. Received: target={target!r}")
        if target_init not in ("copy", "random"):
            raise ValueError(f"target_init must be 'copy' or 'random'. Received: target_init={target_init!r}")
        if target and not stop_gradient:
            raise ValueError("stop_gradient=False needs target=None: no gradient reaches an average of past weights")
        if not callable(target_momentum) and not 0 <= target_momentum <= 1:
            raise ValueError(f"target_momentum must lie in [0, 1]. Received: target_momentum={target_momentum}")
        if int(accumulate) != accumulate or accumulate < 1:
            raise ValueError(f"accumulate must be an integer >= 1. Received: accumulate={accumulate}")
        self.encoder, self.projector = encoder, projector
        self.online = _chain(encoder, projector)
        self._project = _chain(rematerialized(encoder), projector) if rematerialize else self.online
        self.predictor = PREDICTORS.create(predictor) if isinstance(predictor, str) else predictor
        # Everything is built here: under a distribution strategy no variable may be made later.
        if not self.predictor.built:
            self.predictor.build(self.online.output_shape)
        self.target = None
        if target:
            # Each network by itself: a clone of the nested `online` would need every layer class registered.
            self.target = _chain(*(network and keras.models.clone_model(network) for network in (encoder, projector)))
            if target_init == "copy":
                self.target.set_weights(self.online.get_weights())
            # Parameters only: each network's batch norm keeps its own running statistics.
            self._averaged = [
                (t, o) for t, o in zip(self.target.variables, self.online.variables) if o.trainable
            ]
        self.target_momentum, self.loss_spec = target_momentum, loss
        self.loss_fn = LOSSES.create(loss) if isinstance(loss, str) else loss
        self.stop_gradient, self.symmetrize, self.target_init = stop_gradient, symmetrize, target_init
        self.accumulate, self.rematerialize, self.augment = int(accumulate), rematerialize, augment
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.built = True

    def train_step(self, data):
        weights, tau = self.trainable_variables, self._momentum_of_target()
        gradients, parts = [], []
        for x1, x2 in self._micro_batches(data):
            with tf.control_dependencies(gradients):  # one after the other: the activations of one are held
                x1, x2 = tf.identity(x1), tf.identity(x2)
            with tf.GradientTape() as tape:
                loss, online, target = self._predict_across(x1, x2, training=True)
                share = self._checked(loss) / (self.accumulate * _replicas())  # Keras sums over replicas
                scaled = self.optimizer.scale_loss(share)
            parts.append((loss, online, target))
            gradients = _sums(gradients, tape.gradient(scaled, weights))
        loss, online, target = _joined(parts)
        stepped = self._apply(self._overflown_together(gradients), weights)
        self._update_predictor(online, target, stepped)
        if self.target is not None:
            self._update_target(tf.where(stepped, tau, 1))
        return self._logs(loss)

    def _predict_across(self, x1, x2, training):
        """Loss (), and projections and their targets: tuples with one entry for each direction of the loss."""
        both = self.symmetrize
        z1 = self._project(x1, training=training)
        z2 = self._project(x2, training=training) if both or self.target is None else None
        if self.target is None:
            t1, t2 = z1, z2
        else:  # in training mode too: the published targets normalise with the statistics of the batch
            t1 = self.target(x1, training=training) if both else None
            t2 = self.target(x2, training=training)
        online, target = ((z1, z2), (t2, t1)) if both else ((z1,), (t2,))
        if self.stop_gradient:
            target = tuple(tf.stop_gradient(t) for t in target)
        losses = [self.loss_fn(self.predictor(z, training=training), t, z) for z, t in zip(online, target)]
        return tf.reduce_mean(tf.add_n(losses)), online, target

    def test_step(self, data):
        loss, _, _ = self._predict_across(*self._views(data), training=False)
        return self._logs(loss)

    def call(self, images, training=False):
        return self.encoder(images, training=training)

    def compile(self, optimizer, predictor_optimizer=None, jit_compile=False, **kwargs):
        """Configures training.

        Args:
            optimizer: a Keras optimizer.
            predictor_optimizer: an optimizer of its own rate and decay for the predictor's trained weights.
            jit_compile: compile the step with XLA (on CPU the plain graph is faster).
            **kwargs: as `keras.Model.compile`; `loss` and `metrics` are the model's own business.

        Raises:
            ValueError: `loss` or `metrics` given, or a predictor with nothing to train.
        """
        refused = sorted({"loss", "metrics", "loss_weights", "weighted_metrics"} & {k for k, v in kwargs.items() if v})
        if refused:
            raise ValueError(f"compile takes no {', '.join(refused)}: NonContrastive(loss=...) is the loss")
        optimizer = keras.optimizers.get(optimizer)
        if getattr(optimizer, "gradient_accumulation_steps", None):
            raise ValueError(
                "compile takes no optimizer with gradient_accumulation_steps (target and predictor would move with "
                f"every micro-batch): NonContrastive(accumulate={optimizer.gradient_accumulation_steps}) takes its place"
            )
        if predictor_optimizer is not None:
            paths = [v.path for v in self.predictor.trainable_variables]
            if not paths:
                raise ValueError(f"predictor_optimizer given, but {type(self.predictor).__name__} has no trained weights")
            optimizer = keras.optimizers.MultiOptimizer(
                keras.optimizers.OptimizerMap(optimizer, dict.fromkeys(paths, keras.optimizers.get(predictor_optimizer)))
            )
        with self.distribute_strategy.scope():  # where the model was made; a user's compile may be outside
            super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
            self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        # Keras leaves a loaded model uncompiled where `compile` is overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        return [self.loss_metric]

    # Never the target's: it follows by averaging. Keras's own list would take them in again after someone
    # toggles `model.trainable`; and a target set non-trainable would run its batch norm in inference mode.
    @property
    def trainable_variables(self):
        return self.online.trainable_variables + self.predictor.trainable_variables

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def non_trainable_variables(self):
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def non_trainable_weights(self):
        return self.non_trainable_variables

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: all is built, and Keras's way of finding out fails on batches that workers share."""

    def _logs(self, loss):
        """The mean loss with this one in it; one that the loss scaler skips does not count."""
        loss = _mean_over_replicas(loss)
        counts = tf.math.is_finite(loss) if self._skips_overflow() else tf.constant(True)
        self.loss_metric.update_state(tf.where(counts, loss, 0), sample_weight=tf.cast(counts, loss.dtype))
        loss = self.loss_metric.result()
        # Keras averages the logs of many workers along their first axis, which a scalar lacks.
        many_workers = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return {"loss": tf.reshape(loss, (1,)) if many_workers else loss}

    def _micro_batches(self, data):
        """Pairs of views: the (replica's) batch in `accumulate` equal slices."""
        x1, x2 = self._views(data)
        k = self.accumulate
        if x1.shape[0] is not None and x1.shape[0] % k:
            raise ValueError(f"The images of a replica must be a multiple of accumulate={k}. Received: {x1.shape[0]}")
        return zip(tf.split(x1, k), tf.split(x2, k))

    def _views(self, data):
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        batch = self.augment(batch) if self.augment else batch
        if not isinstance(batch, dict) or not {"view1", "view2"} <= set(batch):
            received = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise ValueError(f"A batch must be a dict with view1 and view2. Received: {received}")
        views = {k: tf.convert_to_tensor(batch[k]) for k in ("view1", "view2")}
        finite = [tf.debugging.check_numerics(x, f"{k} is not finite") for k, x in views.items() if x.dtype.is_floating]
        with tf.control_dependencies(finite):  # nothing moves, not even batch norm, before both are known to be
            return [tf.identity(x) for x in views.values()]

    def _checked(self, loss):
        """Stops training at a loss that is not finite, before any weight has moved."""
        if self._skips_overflow():
            return loss
        return tf.debugging.check_numerics(loss, "The loss is not finite; no weight was changed by this step")

    def _skips_overflow(self):
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    def _overflown_together(self, gradients):
        """An overflow at one replica made one at all: each decides by its own gradients whether to skip the step."""
        if not self._skips_overflow() or _replicas() == 1:
            return gradients
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        poison = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, tf.where(finite, 0.0, float("nan"))
        )
        return [gradients[0] + tf.cast(poison, gradients[0].dtype), *gradients[1:]]

    def _apply(self, gradients, weights):
        """Applies gradients; whether the optimizer really stepped (a loss scaler skips overflows)."""
        before = tf.identity(tf.convert_to_tensor(self.optimizer.iterations))
        with tf.control_dependencies(gradients):  # else the count of steps moves although the loss was refused
            self.optimizer.apply_gradients(zip(gradients, weights))
        return tf.not_equal(tf.convert_to_tensor(self.optimizer.iterations), before)

    def _update_predictor(self, online, target, stepped):
        state = self.predictor.non_trainable_variables if self._skips_overflow() else []
        before = [tf.identity(tf.convert_to_tensor(v)) for v in state]
        self.predictor.update(online=online, target=target)
        for v, old in zip(state, before):
            v.assign(tf.where(stepped, tf.convert_to_tensor(v), old))

    def _update_target(self, tau):
        for t, o in self._averaged:
            t.assign(tf.cast(tau, t.dtype) * t + tf.cast(1 - tau, t.dtype) * o)

    def _momentum_of_target(self):
        tau = self.target_momentum
        return tau(self.optimizer.iterations) if callable(tau) else tf.constant(tau, keras.config.floatx())

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "projector": self.projector and serialize(self.projector),
            "predictor": serialize(self.predictor),
            "target": self.target and "ema",
            "target_momentum": serialize(self.target_momentum) if callable(self.target_momentum) else self.target_momentum,
            "loss": self.loss_spec if isinstance(self.loss_spec, str) else serialize(self.loss_spec),
            "stop_gradient": self.stop_gradient,
            "symmetrize": self.symmetrize,
            "target_init": self.target_init,
            "accumulate": self.accumulate,
            "rematerialize": self.rematerialize,
            "augment": self.augment and serialize(self.augment),
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        return cls(**{k: deserialize(v) if isinstance(v, dict) and "class_name" in v else v for k, v in config.items()})


def _chain(encoder, projector):
    """encoder -> projector as one model, which shares their layers."""
    for name, network in (("encoder", encoder), ("projector", projector)):
        if network is not None and not getattr(network, "inputs", None):
            raise ValueError(f"{name} must be a functional or Sequential model with a keras.Input. Received: {type(network).__name__}")
    images = keras.Input(encoder.input_shape[1:], name="images")
    y = encoder(images)
    if len(y.shape) != 2:
        raise ValueError(f"encoder must give (batch, features). Received: output shape {y.shape}")
    return keras.Model(images, y if projector is None else projector(y), name="online")


def _sums(sums, gradients):
    return [s + g for s, g in zip(sums, gradients)] if sums else gradients


def _joined(parts):
    """Mean loss, and the projections and targets of all micro-batches as of one batch."""
    losses, *projections = zip(*parts)
    online, target = (tuple(tf.concat(views, axis=0) for views in zip(*of_parts)) for of_parts in projections)
    return tf.add_n(losses) / len(losses), online, target


def _mean_over_replicas(value):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, value)


def _replicas():
    return tf.distribute.get_replica_context().num_replicas_in_sync
