"""Fields `f(t, y, params) -> dy/dt`, each named after its equation, and the quantities they conserve."""

from tf_directpred.theory.dynamics.closed_form import (
    closed_form_flow,
    closed_form_isoloss_flow,
    directpred,
    directset,
    directset_mode_flow,
)
from tf_directpred.theory.dynamics.isoloss import (
    cosine_step,
    euclidean_mode_flow,
    euclidean_step,
    isotropic_cosine_step,
    isotropic_euclidean_step,
    isotropic_mode_flow,
)
from tf_directpred.theory.dynamics.linear_network import (
    collapse_bound,
    collapse_matrix,
    lemma1,
    lemma1_flow,
    loss,
    moments,
    no_predictor_ema_flow,
    no_predictor_flow,
    no_predictor_no_stop_gradient_flow,
    no_predictor_solution,
    no_stop_gradient_flow,
    simsiam_flow,
    weight_imbalance,
)
from tf_directpred.theory.dynamics.modes import (
    alignment_ceiling,
    alignment_eigenvalue,
    growth_margin,
    mode_ema_flow,
    mode_flow,
    mode_imbalance,
    parabola_flow,
    tau_on_parabola,
)
from tf_directpred.theory.dynamics.symmetrised import (
    alignment_bound,
    alignment_matrix,
    anticommutator,
    commutator,
    normalised_commutator,
    symmetrised_flow,
)
