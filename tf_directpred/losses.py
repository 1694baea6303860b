"""Losses of one direction: (prediction, target, projection) -> (batch,).

The training step sums both directions. `target` arrives behind a stop-gradient unless the method wants
none (SimCLR); `projection` is what the predictor was given. All is computed in float32 (float64 inputs
stay float64), whatever the network's precision.
"""

import tensorflow as tf

from tf_directpred.registry import Registry

LOSSES = Registry("loss")

_TINY = 1e-24  # floor of a squared norm: norms are floored at 1e-12, as torch's F.normalize does


def _full_precision(*tensors):
    return [t if t.dtype == tf.float64 else tf.cast(t, tf.float32) for t in tensors]


def _normalized(x):
    return tf.math.l2_normalize(x, axis=-1, epsilon=_TINY)


def _dot(x, y):
    return tf.reduce_sum(x * y, axis=-1)


@LOSSES.register("cosine")
def cosine(scale=1.0):
    """Negative cosine similarity, twice.

        loss = -2 scale cos(prediction, target)

    Args:
        scale: 1 for BYOL and DirectPred (whose loss, BYOL's minus its constant 2, is the sum of both
            directions), 0.25 for SimSiam's published `-1/2 cos`. Learning rates go with the scale.

    Reference: Grill et al. 2020, eq. 2; Chen & He 2021, eq. 1.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive. Received: scale={scale}")

    def loss(prediction, target, projection):
        prediction, target = _full_precision(prediction, target)
        return -2.0 * scale * _dot(_normalized(prediction), _normalized(target))

    return loss


@LOSSES.register("euclidean")
def euclidean(scale=1.0):
    """Squared distance.

        loss = scale |prediction - target|^2

    Reference: Tian et al. 2021, eq. 1 (their J is 1/2 of this, one direction).
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive. Received: scale={scale}")

    def loss(prediction, target, projection):
        prediction, target = _full_precision(prediction, target)
        return scale * tf.reduce_sum(tf.math.squared_difference(prediction, target), axis=-1)

    return loss


@LOSSES.register("batch_normalized")
def batch_normalized(epsilon=1e-5):
    """Half the squared distance after both sides are standardised over the batch, without affine.

        loss = 1/2 |N(prediction) - N(target)|^2,   N(x) = (x - E[x]) / sqrt(Var[x] + epsilon)

    Its mean is d - sum_j corr_j where epsilon is negligible. Statistics are over all replicas.

    Args:
        epsilon: added to the variance, >= 0 (the theory has 0).

    Reference: Wen & Li 2022, section 2 (output batch normalisation on both branches).
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative. Received: epsilon={epsilon}")

    def mean(x):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(x, axis=0))

    def standardized(x):
        centred = x - mean(x)
        return centred * tf.math.rsqrt(mean(tf.square(centred)) + epsilon)

    def loss(prediction, target, projection):
        prediction, target = _full_precision(prediction, target)
        difference = standardized(prediction) - standardized(target)
        return tf.reduce_sum(tf.square(difference), axis=-1) / 2

    return loss


@LOSSES.register("isoloss")
def isoloss(form="cosine"):
    """The loss whose gradient is W_p^-1 times the plain loss's: all modes learn at the same rate.

        cosine:     sim  = <z, t> / sg(|p| |t|) - 1/2 sg(<p, t> / (|p|^3 |t|)) <p, z>,  loss = -2 sim
        euclidean:  loss = |z - sg(t + z - p)|^2

    z is the projection, p = W_p z its prediction by a symmetric W_p that no gradient reaches, t the target.

    Args:
        form: `"cosine"` or `"euclidean"`.

    Reference: Halvagal, Laborieux, Zenke 2023 (arXiv 2212.04858).
    """
    if form not in ("cosine", "euclidean"):
        raise ValueError(f"form must be cosine or euclidean. Received: form={form!r}")

    def euclidean_form(prediction, target, projection):
        p, t, z = _full_precision(prediction, target, projection)
        return tf.reduce_sum(tf.square(z - tf.stop_gradient(t + z - p)), axis=-1)

    def cosine_form(prediction, target, projection):
        p, t, z = _full_precision(prediction, target, projection)
        p_norm, t_norm = (tf.sqrt(tf.maximum(_dot(v, v), _TINY)) for v in (p, t))
        pull = _dot(z, t) / tf.stop_gradient(p_norm * t_norm)
        weight = tf.stop_gradient(_dot(p, t) / p_norm / t_norm / p_norm**2)  # |p|^3 |t| may vanish in float32
        return -2.0 * (pull - weight * _dot(p, z) / 2)

    return cosine_form if form == "cosine" else euclidean_form


@LOSSES.register("nt_xent")
def nt_xent(temperature=0.5):
    """SimCLR's cross entropy of the positive among 2B - 2 negatives, B the batch over all replicas.

        loss_i = -log( exp(p_i.t_i / T) / (sum_j exp(p_i.t_j / T) + sum_{j != i} exp(p_i.p_j / T)) )

    p and t are l2-normalised; gradient flows through both (use stop_gradient=False, target=None). The step
    sums both directions, as Google's code does; the paper's average over 2B is half of that.

    Args:
        temperature: T, > 0; 0.5 for CIFAR-10, 0.1 for ImageNet.

    Reference: Chen, Kornblith, Norouzi, Hinton 2020, eq. 1.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive. Received: temperature={temperature}")

    def loss(prediction, target, projection):
        p, t = map(_normalized, _full_precision(prediction, target))
        context = tf.distribute.get_replica_context()
        all_p, all_t = (v if context.num_replicas_in_sync == 1 else context.all_gather(v, axis=0) for v in (p, t))
        own = tf.shape(p)[0] * context.replica_id_in_sync_group + tf.range(tf.shape(p)[0])
        itself = tf.one_hot(own, tf.shape(all_p)[0], dtype=p.dtype)
        across = tf.matmul(p, all_t, transpose_b=True) / temperature
        within = tf.matmul(p, all_p, transpose_b=True) / temperature - itself / _TINY
        return tf.reduce_logsumexp(tf.concat([across, within], axis=1), axis=1) - tf.reduce_sum(across * itself, axis=1)

    return loss
