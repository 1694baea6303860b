"""Optimizers of the papers (L2 in the gradient, LARS) and the schedules of rate and target momentum."""

import math

import keras
import tensorflow as tf

from tf_directpred.registry import Registry

OPTIMIZERS = Registry("optimizer")


class _Momentum(keras.optimizers.Optimizer):
    """Heavy-ball momentum on a step direction, with the rate outside the buffer.

        m <- momentum m + direction(g, w),  w <- w - lr m

    Keras's SGD puts the rate inside the buffer; the two differ whenever the rate changes.
    """

    rate_inside = False

    def __init__(self, learning_rate, momentum, weight_decay, exclude_1d, **kwargs):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1). Received: momentum={momentum}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative. Received: weight_decay={weight_decay}")
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.momentum, self.exclude_1d = momentum, exclude_1d

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.buffers = [self.add_variable_from_reference(v, "momentum") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        buffer = self.buffers[self._get_variable_index(variable)]
        g, w = tf.cast(gradient, variable.dtype), tf.convert_to_tensor(variable)
        lr = tf.cast(learning_rate, w.dtype)
        inside, outside = (lr, 1) if self.rate_inside else (1, lr)
        m = self.momentum * tf.convert_to_tensor(buffer) + inside * self.direction(g, w, lr)
        self.assign(buffer, m)
        self.assign_sub(variable, outside * m)

    def excluded(self, w):
        """Biases and batch-norm scales and shifts, told by rank: names differ between libraries."""
        return self.exclude_1d and w.shape.rank <= 1

    def _apply_weight_decay(self, variables):
        """The decay is part of `direction`; Keras's decoupled one must not come on top."""

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "exclude_1d": self.exclude_1d}


@OPTIMIZERS.register("sgd")
@keras.saving.register_keras_serializable("tf_directpred")
class SGD(_Momentum):
    """SGD whose weight decay is L2 in the gradient, as in the papers (Keras's is decoupled).

        m <- momentum m + g + weight_decay w,  w <- w - lr m

    Args:
        learning_rate: a float or a Keras schedule.
        momentum: in [0, 1).
        weight_decay: coefficient of L2, >= 0.
        exclude_1d: leave biases and batch-norm parameters out of the decay (the DirectPred paper does not).
        **kwargs: as `keras.optimizers.Optimizer`.

    Raises:
        ValueError: momentum or weight_decay out of range.
    """

    def __init__(self, learning_rate=0.03, momentum=0.9, weight_decay=0.0, exclude_1d=False, **kwargs):
        super().__init__(learning_rate, momentum, weight_decay, exclude_1d, **kwargs)

    def direction(self, g, w, lr):
        return g if self.excluded(w) else g + self.weight_decay * w


@OPTIMIZERS.register("lars")
@keras.saving.register_keras_serializable("tf_directpred")
class LARS(_Momentum):
    """Layer-wise adaptive rate scaling, as BYOL's authors use it.

        u = g + weight_decay w,  r = trust_coefficient |w| / |u|  (1 where |w| or |u| is 0)
        m <- momentum m + r u,   w <- w - lr m
        parameters of rank <= 1: u = g, r = 1

    Two other conventions go by the same name, and rates and trust coefficients do not carry over between them:
        "simclr" (Google's SimCLR): the rate inside the buffer,  m <- momentum m + lr r u,  w <- w - m
        "apex" (NVIDIA apex's LARC, solo-learn with clip_lr): another norm, and r lr is at most lr,
            r = min(trust_coefficient |w| / (|g| + weight_decay |w| + 1e-8) / lr, 1)
            where |w| or |g| is 0:  u = g, r = 1

    Args:
        learning_rate: a float or a Keras schedule; applied outside the momentum buffer.
        momentum: in [0, 1).
        weight_decay: coefficient of L2, >= 0.
        trust_coefficient: > 0.
        exclude_1d: leave biases and batch-norm parameters out of decay and trust ratio.
        convention: `"byol"`, `"simclr"` or `"apex"`.
        **kwargs: as `keras.optimizers.Optimizer`.

    Raises:
        ValueError: an argument out of range.

    Reference: You, Gitman, Ginsburg 2017; Grill et al. 2020, section 3.3.
    """

    CONVENTIONS = ("byol", "simclr", "apex")

    def __init__(self, learning_rate=0.3, momentum=0.9, weight_decay=1e-6, trust_coefficient=1e-3, exclude_1d=True,
                 convention="byol", **kwargs):
        super().__init__(learning_rate, momentum, weight_decay, exclude_1d, **kwargs)
        if not trust_coefficient > 0:
            raise ValueError(f"trust_coefficient must be positive. Received: trust_coefficient={trust_coefficient}")
        if convention not in self.CONVENTIONS:
            known = ", ".join(self.CONVENTIONS)
            raise ValueError(f"convention must be one of {known}. Received: convention={convention!r}")
        self.trust_coefficient, self.convention = trust_coefficient, convention
        self.rate_inside = convention == "simclr"

    def direction(self, g, w, lr):
        if self.excluded(w):
            return g
        u = g + self.weight_decay * w
        w_norm = tf.norm(w)
        if self.convention == "apex":
            g_norm = tf.norm(g)
            ratio = self.trust_coefficient * w_norm / (g_norm + self.weight_decay * w_norm + 1e-8)
            return tf.where(tf.logical_and(w_norm > 0, g_norm > 0), tf.minimum(ratio / lr, 1) * u, g)
        u_norm = tf.norm(u)
        both = tf.logical_and(w_norm > 0, u_norm > 0)
        return tf.where(both, self.trust_coefficient * tf.math.divide_no_nan(w_norm, u_norm), 1) * u

    def get_config(self):
        return {
            **super().get_config(), "trust_coefficient": self.trust_coefficient, "convention": self.convention,
        }


def learning_rate_schedule(kind, peak, total_steps, warmup_steps=0):
    """The rate at each optimizer step.

        step < warmup: peak step / warmup;    then constant, or  peak (1 + cos(pi (step - warmup) / (total - warmup))) / 2

    Args:
        kind: `"constant"` or `"cosine"`.
        peak: the rate after warm-up, > 0.
        total_steps: optimizer steps of the whole run.
        warmup_steps: steps of linear warm-up from 0.

    Returns:
        A float where nothing varies, else a `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: unknown `kind`.
    """
    if kind not in ("constant", "cosine"):
        raise ValueError(f"kind must be one of constant, cosine. Received: kind={kind!r}")
    if kind == "cosine":
        if not warmup_steps:
            return keras.optimizers.schedules.CosineDecay(peak, total_steps)
        decay_steps = max(total_steps - warmup_steps, 1)
        return keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps, warmup_target=peak, warmup_steps=warmup_steps
        )
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup_steps, peak) if warmup_steps else peak


@keras.saving.register_keras_serializable("tf_directpred")
class CosineMomentum(keras.optimizers.schedules.LearningRateSchedule):
    """The target momentum, rising from its base to 1.

        tau_k = 1 - (1 - base) (cos(pi k / total_steps) + 1) / 2

    Args:
        base: tau at step 0, in [0, 1].
        total_steps: optimizer steps of the whole run.

    Reference: Grill et al. 2020, section 3.3.
    """

    def __init__(self, base, total_steps):
        if not 0 <= base <= 1:
            raise ValueError(f"base must lie in [0, 1]. Received: base={base}")
        self.base, self.total_steps = base, total_steps

    def __call__(self, step):
        k = tf.minimum(tf.cast(step, keras.config.floatx()), self.total_steps)
        return 1 - (1 - self.base) * (tf.cos(math.pi * k / self.total_steps) + 1) / 2

    def get_config(self):
        return {"base": self.base, "total_steps": self.total_steps}
