"""Non-contrastive self-supervised learning in TensorFlow/Keras: DirectPred, BYOL, SimSiam and their theory.

Public names load their module at first use (PEP 562), so `import tf_directpred.theory` never pays for
TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Config": "config",
    "NonContrastive": "model",
    "LARS": "optim",
    "SGD": "optim",
    "LOSSES": "losses",
    "PREDICTORS": "predictors",
    "ENCODERS": "networks",
    "PROJECTORS": "networks",
    "SOURCES": "data",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
