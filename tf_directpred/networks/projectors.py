"""Projectors: the MLP between the representation and the loss."""

import keras
from keras import layers

from tf_directpred.networks.batch_normalization import BatchNormalization
from tf_directpred.networks.initializers import check_init, fan_in_uniform
from tf_directpred.networks.registries import PROJECTORS

# Which of beta (center) and gamma (scale) a batch norm learns.
NORMS = {
    "plain": {"center": False, "scale": False},
    "scale": {"center": False, "scale": True},
    "affine": {"center": True, "scale": True},
}


def _check_norm(argument, norm):
    if norm not in NORMS:
        raise ValueError(f"{argument} must be one of {', '.join(NORMS)}. Received: {argument}={norm!r}")


def _dense(x, units, use_bias, init, name):
    if init == "he":
        return layers.Dense(units, use_bias=use_bias, kernel_initializer="he_normal", name=name)(x)
    bound = x.shape[-1] ** -0.5
    return layers.Dense(
        units,
        use_bias=use_bias,
        kernel_initializer=fan_in_uniform(),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=name,
    )(x)


@PROJECTORS.register("mlp")
def mlp(
    input_dim,
    hidden=(512,),
    output=128,
    norm="plain",
    bias=True,
    output_norm=None,
    output_bias=True,
    init="torch",
    synchronized=False,
):
    """Hidden layers of dense, batch norm, ReLU, then a dense output layer.

    The published ones:

        DirectPred   mlp(hidden=(512,), output=128)        the default
        BYOL         mlp(hidden=(4096,), output=256, norm="affine", output_bias=False)
        SimSiam      mlp(hidden=(2048, 2048), output=2048, norm="affine", bias=False,
                         output_norm="plain", output_bias=False)
        SimCLR       mlp(hidden=(2048, 2048), output=128, norm="affine", bias=False,
                         output_norm="scale", output_bias=False)

    Args:
        input_dim: width of the representation.
        hidden: widths of the hidden layers; () for one linear layer.
        output: width of the projection.
        norm: batch norm of the hidden layers: `"plain"` learns nothing, `"scale"` gamma, `"affine"` gamma
            and beta.
        bias: whether the hidden dense layers have a bias.
        output_norm: batch norm of the output: the same names, or None for none.
        output_bias: whether the output layer has a bias.
        init: `"torch"`, weights and biases U(+-1 / sqrt(fan_in)), or `"he"`, He normal and zeros.
        synchronized: whether batch statistics are taken over all replicas.

    Returns:
        A model, representations (B, input_dim) -> projections (B, output).
    """
    _check_norm("norm", norm)
    if output_norm is not None:
        _check_norm("output_norm", output_norm)
    check_init(init)
    representations = x = keras.Input((input_dim,), name="representations")
    for i, width in enumerate(hidden, start=1):
        x = _dense(x, width, bias, init, f"hidden{i}")
        x = BatchNormalization(**NORMS[norm], synchronized=synchronized, name=f"hidden{i}_bn")(x)
        x = layers.ReLU(name=f"hidden{i}_relu")(x)
    x = _dense(x, output, output_bias, init, "output")
    if output_norm is not None:
        x = BatchNormalization(**NORMS[output_norm], synchronized=synchronized, name="output_bn")(x)
    return keras.Model(representations, x, name="projector")


@PROJECTORS.register("none")
def none():
    """No projector: the loss acts on the representation."""
    return None
