"""ResNet-18, -34 and -50 (v1.5), with the ImageNet stem or the one for small images."""

import keras
from keras import layers

from tf_directpred.networks.batch_normalization import BatchNormalization
from tf_directpred.networks.initializers import check_init, fan_in_uniform, fan_out_normal
from tf_directpred.networks.registries import ENCODERS

STEMS = ("cifar", "imagenet")
PADDINGS = ("torch", "same")


class _Units:
    """Convolutions and batch norms of one network: its padding, starting weights and statistics."""

    def __init__(self, padding, init, synchronized, zero_gamma):
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}. Received: padding={padding!r}")
        check_init(init)
        self.padding = padding
        self.init = init
        self.synchronized = synchronized
        self.zero_gamma = zero_gamma

    def pad(self, x, kernel_size, strides, name):
        """Pads a strided window by kernel_size // 2 on every side; SAME puts the odd row at the end."""
        explicit = self.padding == "torch" and strides > 1 and kernel_size > 1
        if not explicit:
            return x, "same"
        return layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"

    def conv(self, x, filters, kernel_size, strides, name, torch_init=fan_out_normal):
        x, padding = self.pad(x, kernel_size, strides, name)
        return layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=torch_init() if self.init == "torch" else "he_normal",
            name=name,
        )(x)

    def norm(self, x, name, closes_block=False):
        gamma = "zeros" if closes_block and self.zero_gamma else "ones"
        return BatchNormalization(gamma_initializer=gamma, synchronized=self.synchronized, name=name)(x)

    def relu(self, x, name):
        return layers.ReLU(name=name)(x)


def _shortcut(units, x, filters, strides, name):
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = units.conv(x, filters, 1, strides, f"{name}_shortcut_conv")
    return units.norm(x, f"{name}_shortcut_bn")


def _join(units, x, shortcut, name):
    return units.relu(layers.Add(name=f"{name}_add")([shortcut, x]), f"{name}_out")


def _basic_block(units, x, width, strides, name):
    """3x3 (strided) - 3x3, `width` channels out."""
    shortcut = _shortcut(units, x, width, strides, name)
    x = units.conv(x, width, 3, strides, f"{name}_conv1")
    x = units.relu(units.norm(x, f"{name}_bn1"), f"{name}_relu1")
    x = units.conv(x, width, 3, 1, f"{name}_conv2")
    x = units.norm(x, f"{name}_bn2", closes_block=True)
    return _join(units, x, shortcut, name)


def _bottleneck(units, x, width, strides, name):
    """1x1 - 3x3 (strided: that is v1.5; v1 strides the first 1x1) - 1x1, `4 width` channels out."""
    shortcut = _shortcut(units, x, 4 * width, strides, name)
    x = units.conv(x, width, 1, 1, f"{name}_conv1")
    x = units.relu(units.norm(x, f"{name}_bn1"), f"{name}_relu1")
    x = units.conv(x, width, 3, strides, f"{name}_conv2")
    x = units.relu(units.norm(x, f"{name}_bn2"), f"{name}_relu2")
    x = units.conv(x, 4 * width, 1, 1, f"{name}_conv3")
    x = units.norm(x, f"{name}_bn3", closes_block=True)
    return _join(units, x, shortcut, name)


def _stem(units, x, stem, width):
    if stem == "cifar":
        # The official small-image code replaces the first convolution, so it starts as a plain torch one.
        x = units.conv(x, width, 3, 1, "stem_conv", torch_init=fan_in_uniform)
        return units.relu(units.norm(x, "stem_bn"), "stem_relu")
    x = units.conv(x, width, 7, 2, "stem_conv")
    x = units.relu(units.norm(x, "stem_bn"), "stem_relu")
    # Zeros pad a rectified image as minus infinity would: no maximum is lower than 0.
    x, padding = units.pad(x, 3, 2, "stem_pool")
    return layers.MaxPooling2D(3, strides=2, padding=padding, name="stem_pool")(x)


def _resnet(name, block, depths, input_shape, stem, width, units):
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}. Received: stem={stem!r}")
    if width < 1:
        raise ValueError(f"width must be at least 1. Received: width={width}")
    images = keras.Input(input_shape, name="images")
    x = _stem(units, images, stem, width)
    for i, depth in enumerate(depths):
        for j in range(depth):
            strides = 2 if i > 0 and j == 0 else 1
            x = block(units, x, width * 2**i, strides, f"stage{i + 1}_block{j + 1}")
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


@ENCODERS.register("resnet18")
def resnet18(
    input_shape=(None, None, 3),
    stem="cifar",
    width=64,
    zero_gamma=False,
    padding="torch",
    init="torch",
    synchronized=False,
):
    """ResNet-18: normalised images (B, H, W, 3) -> representations (B, 8 width).

    Args:
        input_shape: (H, W, channels); H and W may be None.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one with stride 2 and a max-pool.
        width: channels of the first stage.
        zero_gamma: whether each block's last batch norm starts at gamma 0, the block thus as its shortcut.
        padding: of strided convolutions and the max-pool: `"torch"`, the same on every side, or `"same"`,
            TensorFlow's, which puts an odd row at the end.
        init: `"torch"`: N(0, 2 / fan_out) and for the CIFAR stem U(+-1 / sqrt(fan_in)), as the official
            DirectPred code; `"he"`: He normal over the fan-in.
        synchronized: whether batch statistics are taken over all replicas.

    Reference:
        He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    """
    units = _Units(padding, init, synchronized, zero_gamma)
    return _resnet("resnet18", _basic_block, (2, 2, 2, 2), input_shape, stem, width, units)


@ENCODERS.register("resnet34")
def resnet34(
    input_shape=(None, None, 3),
    stem="cifar",
    width=64,
    zero_gamma=False,
    padding="torch",
    init="torch",
    synchronized=False,
):
    """ResNet-34: normalised images (B, H, W, 3) -> representations (B, 8 width); arguments as `resnet18`."""
    units = _Units(padding, init, synchronized, zero_gamma)
    return _resnet("resnet34", _basic_block, (3, 4, 6, 3), input_shape, stem, width, units)


@ENCODERS.register("resnet50")
def resnet50(
    input_shape=(None, None, 3),
    stem="imagenet",
    width=64,
    zero_gamma=False,
    padding="torch",
    init="torch",
    synchronized=False,
):
    """ResNet-50 v1.5: normalised images (B, H, W, 3) -> representations (B, 32 width).

    Arguments as `resnet18`. The 3x3 convolution of a strided block carries the stride, not the
    1x1 before it (v1, keras.applications).
    """
    units = _Units(padding, init, synchronized, zero_gamma)
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3), input_shape, stem, width, units)
