"""Every golden number of the theory, reached through public functions."""

import json
import pathlib

import numpy as np
import pytest

from tf_directpred.theory import dynamics, equilibria, prediction_head
from tf_directpred.theory.integrate import (
    bisect_threshold,
    collapse_boundary,
    ema_threshold,
    escapes,
    euler,
    trajectory,
)
from tf_directpred.theory.parameters import (
    ClosedFormNetwork,
    IndependentFeatures,
    IsotropicModel,
    LinearNetwork,
    PatchModel,
)

GOLDEN = json.loads((pathlib.Path(__file__).parent / "data" / "theory.json").read_text())


def entries(name):
    return [pytest.param(entry, id=f"{name}{n}") for n, entry in enumerate(GOLDEN[name]["entries"])]


def model(entry):
    # A "tau" that is a list is a trajectory, a "beta" of None no moving average.
    names = ("tau", "sigma2", "eta", "alpha_p", "beta")
    return IsotropicModel(**{n: entry[n] for n in names if isinstance(entry.get(n), (int, float))})


def close(actual, expected, tolerance, relative=0.0):
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=tolerance)


@pytest.mark.parametrize("entry", entries("fixed_points"))
def test_fixed_points(entry):
    params, tolerance = model(entry), GOLDEN["fixed_points"]["tol_abs"]
    close(equilibria.critical_decay(params), entry["eta_c"], tolerance)
    close(equilibria.alignment_decay(params), entry["eta_align"], tolerance)
    p_minus, p_plus = equilibria.parabola_fixed_points(params)
    points = equilibria.mode_fixed_points(params)
    if entry["collapse_only"]:
        assert np.isnan(p_minus) and np.isnan(p_plus) and [point.p for point in points] == [0.0]
        return
    close([p_minus, p_plus], [entry["p_minus"], entry["p_plus"]], tolerance)
    close(points[0].eigenvalues, entry["jac_eigs_origin"], tolerance)
    close([points[1].s, points[-1].s], [entry["s_minus"], entry["s_plus"]], tolerance)
    close(points[1].eigenvalues, entry["jac_eigs_p_minus"], tolerance)
    close(points[-1].eigenvalues, entry["jac_eigs_p_plus"], tolerance)
    K = dynamics.alignment_eigenvalue(points[-1].p, points[-1].s, params)
    close(K, entry["K_at_p_plus"], tolerance)


@pytest.mark.parametrize("entry", entries("traj_1d"))
def test_trajectory_on_the_parabola(entry):
    p = trajectory(dynamics.parabola_flow, entry["p0"], entry["t"], model(entry))
    close(p, entry["p"], GOLDEN["traj_1d"]["tol_abs"])


@pytest.mark.parametrize("entry", entries("traj_2d"))
def test_trajectory_in_the_plane(entry):
    params = model(entry)
    p, s = trajectory(dynamics.mode_flow, [entry["p0"], entry["s0"]], entry["t"], params).T
    close(p, entry["p"], GOLDEN["traj_2d"]["tol_abs"])
    close(s, entry["s"], GOLDEN["traj_2d"]["tol_abs"])
    close(dynamics.mode_imbalance(entry["p0"], entry["s0"], params), entry["c0"], 1e-14)
    close(dynamics.mode_imbalance(p, s, params), entry["c_exp"], GOLDEN["traj_2d"]["invariance_tol"])


@pytest.mark.parametrize("entry", entries("traj_3d_ema"))
def test_trajectory_with_moving_average(entry):
    start = [entry["p0"], entry["s0"], entry["tau0"]]
    y = trajectory(dynamics.mode_ema_flow, start, entry["t"], model(entry))
    close(y.T, [entry["p"], entry["s"], entry["tau"]], GOLDEN["traj_3d_ema"]["tol_abs"])


def lemma1_inputs(**overrides):
    inputs = GOLDEN["lemma1"]["inputs"]
    constants = {name: inputs[name] for name in ("X", "alpha_p", "eta", "beta")}
    params = LinearNetwork(**{**constants, "X_prime": inputs["Xprime"], **overrides})
    return params, *(np.array(inputs[name]) for name in ("W_p", "W", "W_a"))


def test_lemma1():
    golden, tolerance = GOLDEN["lemma1"], GOLDEN["lemma1"]["tol_abs"]
    params, W_p, W, W_a = lemma1_inputs()
    y = np.hstack([W_p, W, W_a])
    rates = np.hstack([golden["dW_p"], golden["dW"], golden["dW_a"]])
    close(dynamics.lemma1_flow(0.0, y, params), rates, tolerance)
    close(np.hstack(dynamics.lemma1(W_p, W, W_a, params)), rates[:, :5], tolerance)
    close(dynamics.loss(W_p, W, W_a, params), golden["J_stopgrad_value"], tolerance)


def test_lemma1_without_stop_gradient():
    golden, tolerance = GOLDEN["lemma1"]["no_stopgrad_Wa_eq_W"], GOLDEN["lemma1"]["tol_abs"]
    params, W_p, W, _ = lemma1_inputs()
    rates = dynamics.no_stop_gradient_flow(0.0, np.hstack([W_p, W]), params)
    close(rates, np.hstack([golden["dW_p"], golden["dW"]]), tolerance)
    H = dynamics.collapse_matrix(W_p, params)
    close(np.linalg.eigvalsh(H), golden["H_eigs_with_eta"], tolerance)
    close(-H @ W.ravel(order="F"), np.ravel(golden["dW"], order="F"), tolerance)


@pytest.mark.parametrize("steps", [100, 500])
def test_gradient_descent_of_lemma1(steps):
    params, *blocks = lemma1_inputs()
    end = euler(dynamics.lemma1_flow, np.hstack(blocks), 0.01, steps, params)
    golden = GOLDEN["lemma1"]["discrete_gd_simultaneous_update_lr_0.01"][str(steps)]
    close(end, np.hstack([golden["W_p"], golden["W"], golden["W_a"]]), GOLDEN["lemma1"]["tol_abs"])


@pytest.mark.parametrize("entry", entries("matrix_flow"))
def test_matrix_flow(entry):
    params, W_p, W, W_a = lemma1_inputs(eta=entry["eta"])
    field, start = {
        "byol": (dynamics.lemma1_flow, [W_p, W, W_a]),
        "simsiam": (dynamics.simsiam_flow, [W_p, W]),
        "no_stopgrad": (dynamics.no_stop_gradient_flow, [W_p, W]),
        "no_predictor": (dynamics.no_predictor_flow, [W]),
        "no_predictor_ema": (dynamics.no_predictor_ema_flow, [W, W]),
        "no_predictor_no_stopgrad": (dynamics.no_predictor_no_stop_gradient_flow, [W]),
    }[entry["mode"]]
    y = trajectory(field, np.hstack(start), entry["t"], params)
    at = 0 if "no_predictor" in entry["mode"] else 2
    encoder, ten = y[..., at : at + 3], entry["t"].index(10)
    tolerance = GOLDEN["matrix_flow"]["tol_abs"]
    close(np.linalg.norm(encoder, axis=(1, 2)), entry["normW_F"], tolerance)
    close(encoder[ten], entry["W_at_10"], tolerance)
    if at:
        close(y[ten, :, :2], entry["W_p_at_10"], tolerance)
    if entry["mode"] == "no_predictor":
        close(dynamics.no_predictor_solution(10.0, W, params), entry["W_at_10"], tolerance)


@pytest.mark.parametrize("entry", entries("commutator"))
def test_commutator(entry):
    params, tolerances = model(entry), GOLDEN["commutator"]
    start = np.stack([entry["W_p0"], entry["F0"]])
    y = trajectory(dynamics.symmetrised_flow, start, entry["t"], params)
    W_p, F = y[:, 0], y[:, 1]
    norm = np.linalg.norm(dynamics.commutator(F, W_p), axis=(1, 2))
    absolute, relative = tolerances["tol_abs_comm"], tolerances["tol_rel_comm"]
    close(norm, entry["comm_norm"], absolute, relative)
    # Dividing by shrinking norms divides the absolute tolerance too.
    sizes = np.linalg.norm(F, axis=(1, 2)) * np.linalg.norm(W_p, axis=(1, 2))
    error = np.abs(dynamics.normalised_commutator(F, W_p) - entry["comm_norm_over_norms"])
    assert (error <= relative * np.array(entry["comm_norm_over_norms"]) + absolute / sizes).all()
    lowest = np.linalg.eigvalsh(dynamics.alignment_matrix(W_p, F, params))[:, 0]
    close(lowest, entry["lambda_min_K"], tolerances["tol_abs_K"])


@pytest.mark.parametrize("entry", entries("basin_2d_separatrix"))
def test_separatrix(entry):
    expected = [entry[f"s0_threshold_at_p0_{name}"] for name in ("zero", "minus_0p3", "0p4")]
    tolerance = GOLDEN["basin_2d_separatrix"]["tol_rel"]
    close(collapse_boundary([0.0, -0.3, 0.4], model(entry)), expected, 0.0, tolerance)


def test_separatrix_by_bisection():
    entry = GOLDEN["basin_2d_separatrix"]["entries"][0]
    threshold = bisect_threshold(lambda s0: escapes([0.0, s0], model(entry), 2000), 1e-3, 1.0, rtol=1e-5)
    close(threshold, entry["s0_threshold_at_p0_zero"], 0.0, GOLDEN["basin_2d_separatrix"]["tol_rel"])


@pytest.mark.parametrize("entry", entries("basin_ema"))
def test_basin_with_moving_average(entry):
    params, tolerance = model(entry), GOLDEN["basin_ema"]["tol_rel"]
    threshold = (
        equilibria.parabola_fixed_points(params)[0] if entry["beta"] is None else ema_threshold(params)
    )
    close(threshold, entry["p0_threshold_on_parabola"], 0.0, tolerance)


@pytest.mark.parametrize("entry", entries("basin_eta0"))
def test_basin_without_decay(entry):
    params = model(entry)
    collapses, p, s = equilibria.limit_without_decay(entry["p0"], entry["s0"], params)
    assert collapses == entry["collapses"]
    close([p, s], [entry["p_inf"], entry["s_inf"]], 1e-14)
    end = trajectory(dynamics.mode_flow, [entry["p0"], entry["s0"]], [400.0], params)[0]
    close(end, [entry["p_inf"], entry["s_inf"]], GOLDEN["basin_eta0"]["tol_abs"])


def test_directpred_map():
    direct = GOLDEN["direct"]
    for case in [*direct["directpred_map"], direct["directpred_map_3x3"]]:
        close(dynamics.directpred(case["F"], case["eps"]), case["W_p"], direct["tol_abs"])


@pytest.mark.parametrize("case", GOLDEN["direct"]["directset_equilibrium"])
def test_directset_fixed_point(case):
    params = IndependentFeatures(
        sigma2=case["sigma2"], data_variance=case["X_eig"], eta=case["eta"], tau=case["tau"]
    )
    close(equilibria.directset_fixed_point(params), case["p_star"], GOLDEN["direct"]["tol_abs"])
    threshold = equilibria.survival_variance(case["eta"], case["tau"], case["X_eig"])
    close(threshold, case["sigma2_threshold"], 1e-12)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("exponent", GOLDEN["direct"]["matrix_test"]["alpha"])
def test_directset_matrix_flow(exponent, augmented):
    case, n = GOLDEN["direct"]["matrix_test"], GOLDEN["direct"]["matrix_test"]["n"]
    params = ClosedFormNetwork(
        X=np.eye(n),
        X_prime=np.diag(case["Xprime_diag"]),
        eta=case["eta"],
        exponent=exponent,
        augmented=augmented,
    )
    W = trajectory(dynamics.closed_form_flow, 0.5 ** (0.5 / exponent) * np.eye(n), [case["T"]], params)[0]
    F = W @ (params.X + params.X_prime if augmented else params.X) @ W.T
    expected = GOLDEN["direct"]["directset_equilibrium"][0]["p_star"]
    # A dying feature leaves p = F^exponent, whose root magnifies what is left of F.
    close(np.diag(F), np.array(expected) ** (1 / exponent), case["tol"])
    close(np.diag(dynamics.directset(F, exponent))[:3], expected[:3], case["tol"])


@pytest.mark.parametrize("case", GOLDEN["direct"]["eps_revival"]["cases"])
def test_epsilon_revival(case):
    golden = GOLDEN["direct"]["eps_revival"]
    noise = golden["sigma2"] * np.eye(3)
    params = ClosedFormNetwork(X=np.eye(3), X_prime=noise, eta=golden["eta"], epsilon=case["eps"])
    W = trajectory(dynamics.closed_form_flow, np.diag(golden["w0"]), [golden["T"]], params)[0]
    p = np.diag(dynamics.directpred(W @ W.T, case["eps"]))
    mode = IsotropicModel(sigma2=golden["sigma2"], eta=golden["eta"])
    close(equilibria.parabola_fixed_points(mode), [golden["p_minus"], golden["p_plus"]], 1e-12)
    assert (np.abs(p - golden["p_plus"]) < 1e-6).tolist() == case["alive"]
    s_max = np.linalg.norm(W, 2) ** 2
    assert equilibria.epsilon_revives(case["eps"], s_max, mode) == case["alive"][2]


def test_head_rates_of_change():
    golden = GOLDEN["wenli"]["rates_at"]
    params = PatchModel(head_rate=golden["eta_E_over_eta"])
    state, tolerance = np.array(golden["state"]), GOLDEN["wenli"]["tol_abs_rates"]
    close(prediction_head.population_flow(0.0, state, params), golden["rates"], tolerance)
    close(prediction_head.output_agreement(state, params), golden["rho"], tolerance)
    assert list(prediction_head.STATE) == GOLDEN["wenli"]["state_order"]


@pytest.mark.parametrize("entry", entries("wenli"))
def test_head_trajectory(entry):
    params = PatchModel(head_rate=entry["eta_E_over_eta"])
    start, tolerance = np.array(GOLDEN["wenli"]["y0"]), GOLDEN["wenli"]["tol_abs_flow"]
    close(prediction_head.demonstration_start(), start, 0.0)
    y = trajectory(prediction_head.population_flow, start, entry["t"], params)
    cosines, norms = prediction_head.cosines(y), prediction_head.squared_norms(y)
    for j in (0, 1):
        close(norms[:, j], entry[f"norm_w{j + 1}_sq"], tolerance)
        for l in (0, 1):
            close(cosines[:, j, l], entry[f"cos_w{j + 1}_v{l + 1}"], tolerance)
    close(y[:, 7:], np.transpose([entry["E12"], entry["E21"]]), tolerance)
    assert np.ptp(prediction_head.head_balance(y, params), axis=0).max() < 1e-8


def test_isoloss_steps():
    golden = GOLDEN["isoloss"]
    arguments = [np.array(golden[name]) for name in ("lam", "z1", "z2")]
    for name, step in {
        "euc": dynamics.euclidean_step,
        "iso_euc": dynamics.isotropic_euclidean_step,
        "cos": dynamics.cosine_step,
        "iso_cos": dynamics.isotropic_cosine_step,
    }.items():
        close(step(*arguments), golden[name], golden["tol_abs"])


@pytest.mark.parametrize("entry", GOLDEN["isoloss"]["flow"]["entries"])
def test_isoloss_flow(entry):
    golden = GOLDEN["isoloss"]["flow"]
    field = {"euc": dynamics.euclidean_mode_flow, "iso_euc": dynamics.isotropic_mode_flow}[entry["loss"]]
    params = IndependentFeatures(sigma2=golden["sigma2"], eta=golden["eta"], exponent=golden["alpha"])
    s = trajectory(field, entry["s0"], entry["t"], params)
    close(s, entry["s"], GOLDEN["isoloss"]["tol_abs"])
