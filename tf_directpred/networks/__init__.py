"""Encoders (images -> representations) and projectors (representations -> projections).

Each is a function registered by name that returns a functional `keras.Model`:

    encoder = ENCODERS.create("resnet18(stem='cifar')", input_shape=(32, 32, 3))
    projector = PROJECTORS.create("mlp(hidden=(512,), output=128)", input_dim=encoder.output_shape[-1])
"""

from tf_directpred.networks.batch_normalization import BatchNormalization
from tf_directpred.networks.convolutional import convnet
from tf_directpred.networks.projectors import mlp, none
from tf_directpred.networks.registries import ENCODERS, PROJECTORS
from tf_directpred.networks.resnet import resnet18, resnet34, resnet50

__all__ = [
    "ENCODERS",
    "PROJECTORS",
    "BatchNormalization",
    "convnet",
    "mlp",
    "none",
    "resnet18",
    "resnet34",
    "resnet50",
]
