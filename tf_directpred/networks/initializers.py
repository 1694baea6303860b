"""Starting weights: what the papers' PyTorch code draws, or He's."""

import keras

INITS = ("torch", "he")


def check_init(init):
    if init not in INITS:
        raise ValueError(f"init must be one of {', '.join(INITS)}. Received: init={init!r}")


def fan_in_uniform():
    """U(-b, b), b = 1 / sqrt(fan_in): what a plain torch `Linear` or `Conv2d` draws."""
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")


def fan_out_normal():
    """N(0, 2 / fan_out): what torchvision's ResNets draw for every convolution."""
    return keras.initializers.VarianceScaling(scale=2.0, mode="fan_out", distribution="untruncated_normal")
