"""A small convolutional encoder that trains on two CPU cores."""

import keras
from keras import layers

from tf_directpred.networks.batch_normalization import BatchNormalization
from tf_directpred.networks.initializers import check_init, fan_in_uniform
from tf_directpred.networks.registries import ENCODERS


@ENCODERS.register("convnet")
def convnet(
    input_shape=(None, None, 3), widths=(16, 32, 64, 128), strides=(2, 2, 1, 2), init="he", synchronized=False
):
    """3x3 convolutions, each with batch norm and ReLU, then the mean over places.

    Args:
        input_shape: (H, W, channels); H and W may be None.
        widths: output channels of each convolution; the last is the representation's width.
        strides: stride of each convolution.
        init: `"he"`, He normal, or `"torch"`, U(+-1 / sqrt(fan_in)).
        synchronized: whether batch statistics are taken over all replicas.

    Returns:
        A model, normalised images (B, H, W, channels) -> representations (B, widths[-1]).
    """
    if not widths or len(widths) != len(strides):
        raise ValueError(
            "widths and strides must be equally long and not empty. "
            f"Received: widths={widths}, strides={strides}"
        )
    check_init(init)
    images = x = keras.Input(input_shape, name="images")
    for i, (width, stride) in enumerate(zip(widths, strides), start=1):
        x = layers.Conv2D(
            width,
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=fan_in_uniform() if init == "torch" else "he_normal",
            name=f"conv{i}",
        )(x)
        x = BatchNormalization(synchronized=synchronized, name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name="convnet")
