"""The figures: each function returns a matplotlib Figure, `save` writes it as PNG."""

from tf_directpred.theory.portraits.closed_form import epsilon_revival, isoloss, survival
from tf_directpred.theory.portraits.linear_network import alignment, collapse, weight_balance
from tf_directpred.theory.portraits.modes import (
    alignment_condition,
    bifurcation,
    hyperparameters,
    target_curriculum,
)
from tf_directpred.theory.portraits.phase_plane import phase_portraits
from tf_directpred.theory.portraits.prediction_head import head_regimes, head_training, random_start_rates
from tf_directpred.theory.portraits.style import save
from tf_directpred.theory.portraits.training import collapse_rates, directpred_modes, lemma1_error
