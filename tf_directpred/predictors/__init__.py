"""Predictors, by name. A new one: one file here and one import below."""

from tf_directpred.predictors.base import PREDICTORS, Predictor
from tf_directpred.predictors.closed_form import ClosedFormPredictor
from tf_directpred.predictors.diagonal import DiagonalPredictor
from tf_directpred.predictors.directpred import DirectPredLayer
from tf_directpred.predictors.directset import DirectCopyLayer, DirectSetLayer
from tf_directpred.predictors.identity import IdentityPredictor
from tf_directpred.predictors.linear import LinearPredictor
from tf_directpred.predictors.mlp import MLPPredictor
from tf_directpred.predictors.offdiagonal import OffDiagonalPredictor
from tf_directpred.predictors.optimal import OptimalPredictor

__all__ = [
    "PREDICTORS",
    "ClosedFormPredictor",
    "DiagonalPredictor",
    "DirectCopyLayer",
    "DirectPredLayer",
    "DirectSetLayer",
    "IdentityPredictor",
    "LinearPredictor",
    "MLPPredictor",
    "OffDiagonalPredictor",
    "OptimalPredictor",
    "Predictor",
]
