"""Figures of the linear network: Theorem 1's invariant, Theorem 2's collapse, Theorem 3's alignment."""

import numpy as np

from tf_directpred.theory import dynamics
from tf_directpred.theory.integrate import trajectory
from tf_directpred.theory.parameters import IsotropicModel, LinearNetwork
from tf_directpred.theory.portraits.style import BLACK, CYCLE, DASHES, legend_below, panels, styled

_X = np.diag([1.0, 0.9, 0.7, 0.5, 0.3, 0.2])
_X_PRIME = np.diag([0.05, 0.1, 0.2, 0.1, 0.3, 0.4])


def _starts(seed=0):
    """A predictor (4, 4) and an encoder (4, 6) of the size that training starts from."""
    rng = np.random.default_rng(seed)
    return 0.5 * np.eye(4) + 0.15 * rng.standard_normal((4, 4)), 0.6 * rng.standard_normal((4, 6))


def _norm(matrices):
    return np.linalg.norm(matrices, axis=(-2, -1))


@styled
def weight_balance():
    """Theorem 1 along one trajectory for three weight decays: the imbalance of W and W_p, and its error.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Theorem 1.
    """
    times = np.linspace(0, 60, 241)
    W_p, W = _starts()
    figure, axes = panels(1, 2, width=7)
    for eta, color, dash in zip((0.0, 0.02, 0.1), CYCLE, DASHES):
        params = LinearNetwork(X=_X, X_prime=_X_PRIME, alpha_p=2.0, eta=eta, beta=0.3)
        y = trajectory(dynamics.lemma1_flow, np.hstack([W_p, W, 0.5 * W]), times, params)
        imbalance = dynamics.weight_imbalance(y[..., :4], y[..., 4:10], params)
        exact = np.exp(-2 * eta * times)[:, None, None] * imbalance[0]
        axes[0, 0].semilogy(
            times, _norm(imbalance), color=color, linestyle=dash, label=rf"flow, $\eta={eta:g}$"
        )
        axes[0, 0].plot(
            times[::20],
            _norm(exact[::20]),
            "o",
            color=BLACK,
            fillstyle="none",
            label=r"$e^{-2\eta t}\Vert C\Vert_F$",
        )
        error = np.maximum(_norm(imbalance - exact), 1e-17)
        axes[0, 1].semilogy(times, error, color=color, linestyle=dash)
    axes[0, 0].set(xlabel=r"time $t$", ylabel=r"$\Vert WW^T-\alpha_p^{-1}W_p^TW_p\Vert_F$", title="imbalance")
    axes[0, 1].set(xlabel=r"time $t$", ylabel="difference from Theorem 1", title="error of the integration")
    axes[0, 1].set_ylim(1e-17, 1e-8)
    legend_below(figure, axes[0], 4)
    return figure


def _encoder_norms(times, params):
    """||W(t)|| of the six training modes from one start, and Theorem 2's bound."""
    W_p, W = _starts()
    free = {
        "stop-gradient + predictor (SimSiam)": (dynamics.simsiam_flow, np.hstack([W_p, W]), 4),
        "the same + EMA (BYOL)": (dynamics.lemma1_flow, np.hstack([W_p, W, W]), 4),
        "predictor, no stop-gradient": (dynamics.no_stop_gradient_flow, np.hstack([W_p, W]), 4),
        "stop-gradient, no predictor": (dynamics.no_predictor_flow, W, 0),
        "stop-gradient + EMA, no predictor": (dynamics.no_predictor_ema_flow, np.hstack([W, W]), 0),
        "neither": (dynamics.no_predictor_no_stop_gradient_flow, W, 0),
    }
    norms = {}
    for name, (field, start, at) in free.items():
        y = trajectory(field, start, times, params)
        norms[name] = _norm(y[..., at : at + 6])
        if field is dynamics.no_stop_gradient_flow:
            bound = dynamics.collapse_bound(times, y[..., :4], W, params)
    return norms, bound


@styled
def collapse():
    """||W(t)|| with and without predictor, stop-gradient and EMA; a noise-free subspace survives.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Theorem 2.
    """
    times = np.linspace(0, 120, 241)
    figure, axes = panels(1, 3, width=5.6, height=5, sharey=True)
    for axis, eta in zip(axes[0], (0.0, 0.02)):
        params = LinearNetwork(X=_X, X_prime=_X_PRIME, eta=eta, beta=0.1)
        norms, bound = _encoder_norms(times, params)
        for (name, norm), color, dash in zip(norms.items(), CYCLE, DASHES):
            axis.semilogy(times, norm, color=color, linestyle=dash, label=name)
        axis.semilogy(times, bound, color=BLACK, linewidth=1.2, label="bound for no stop-gradient")
        axis.set_title(rf"$\eta={eta:g}$")
    singular = np.diag([0, 0, 0, 0, 0.3, 0.4])
    for eta, marker in ((0.0, "o"), (0.02, "s")):
        params = LinearNetwork(X=_X, X_prime=singular, eta=eta)
        y = trajectory(dynamics.no_stop_gradient_flow, np.hstack(_starts()), times, params)
        axes[0, 2].semilogy(
            times, _norm(y[..., 4:]), color=CYCLE[2], linestyle=DASHES[2], marker=marker, markevery=24
        )
        axes[0, 2].annotate(
            rf"$\eta={eta:g}$", (times[192], _norm(y[192, :, 4:])), xytext=(0, 10), textcoords="offset points"
        )
    axes[0, 2].set_title(r"no stop-gradient, singular $X'$")
    for axis in axes[0]:
        axis.set(xlabel=r"time $t$", ylim=(1e-8, 10))
    axes[0, 0].set_ylabel(r"$\Vert W\Vert_F$")
    legend_below(figure, axes[0], 3)
    return figure


_WIDE = (
    np.array([[0.4, -0.1, 0.05], [-0.1, 0.35, 0.08], [0.05, 0.08, 0.2]]),
    np.array([[0.3, 0.05, -0.02], [0.05, 0.2, 0.04], [-0.02, 0.04, 0.1]]),
)
_SMALL = (
    np.array([[0.1, 0.02, 0], [0.02, 0.08, 0.01], [0, 0.01, 0.06]]),
    np.array([[0.006, -0.002, 0.001], [-0.002, 0.009, 0.002], [0.001, 0.002, 0.012]]),
)


@styled
def alignment():
    """The commutator, raw and normalised, and K's smallest eigenvalue for four runs.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Theorem 3.
    """
    cases = {
        r"$K\succ0$ throughout: $\eta=.15$": (_WIDE, IsotropicModel(sigma2=0.2, eta=0.15), 40),
        r"small weights, $K$ indefinite at first: $\eta=0$": (_SMALL, IsotropicModel(sigma2=0.2), 40),
        r"the same, $\alpha_p=10$, $\eta=.01$": (
            _SMALL,
            IsotropicModel(sigma2=0.2, eta=0.01, alpha_p=10.0),
            40,
        ),
        r"collapse: $\eta=1$": (_WIDE, IsotropicModel(sigma2=0.2, eta=1.0), 6),
    }
    figure, axes = panels(1, 3, width=5.6, height=4.8)
    raw, normalised, lowest = axes[0]
    for (name, (start, params, horizon)), color, dash in zip(cases.items(), CYCLE, DASHES):
        times = np.linspace(0, horizon, 40 * horizon + 1)
        y = trajectory(dynamics.symmetrised_flow, np.stack(start), times, params)
        W_p, F = y[:, 0], y[:, 1]
        norm = _norm(dynamics.commutator(F, W_p))
        bound = dynamics.alignment_bound(times, W_p, F, params)
        raw.semilogy(times, norm / norm[0], color=color, linestyle=dash, label=name)
        raw.semilogy(times, bound / norm[0], color=color, linewidth=0.9, alpha=0.8)
        normalised.semilogy(times, dynamics.normalised_commutator(F, W_p), color=color, linestyle=dash)
        eigenvalues = np.linalg.eigvalsh(dynamics.alignment_matrix(W_p, F, params))
        lowest.plot(times, eigenvalues[:, 0], color=color, linestyle=dash)
    raw.plot([], [], color=BLACK, linewidth=0.9, label=r"bound $e^{-\int(k_1+k_2)dt}$")
    raw.set(ylim=(1e-8, 40), title=r"$\Vert[F,W_p]\Vert_F$ over its start", ylabel="ratio")
    normalised.set(ylim=(1e-8, 1), title="normalised commutator")
    normalised.set_ylabel(r"$\Vert[F,W_p]\Vert_F\,/\,(\Vert F\Vert_F\Vert W_p\Vert_F)$")
    lowest.axhline(0, color=BLACK, linewidth=1)
    lowest.set(title=r"smallest eigenvalue of $K$", ylabel=r"$\lambda_{\min}(K)$")
    for axis in axes[0]:
        axis.set_xlabel(r"time $t$")
    legend_below(figure, axes[0], 3)
    return figure
