"""Predictors, by name. A new one: one file here and one import below."""

from tf_directpred.predictors.base import PREDICTORS, Predictor
from tf_directpred.predictors.closed_form import ClosedFormPredictor
from tf_directpred.predictors.directpred import DirectPredLayer
from tf_directpred.predictors.identity import IdentityPredictor
from tf_directpred.predictors.linear import LinearPredictor
from tf_directpred.predictors.mlp import MLPPredictor

__all__ = [
    "PREDICTORS",
    "ClosedFormPredictor",
    "DirectPredLayer",
    "IdentityPredictor",
    "LinearPredictor",
    "MLPPredictor",
    "Predictor",
]
