"""Figures of closed-form predictors: DirectPred's epsilon, DirectSet's filter, IsoLoss."""

import numpy as np

from tf_directpred.theory import dynamics, equilibria
from tf_directpred.theory.integrate import trajectory
from tf_directpred.theory.parameters import ClosedFormNetwork, IndependentFeatures, IsotropicModel
from tf_directpred.theory.portraits.style import (
    BLACK,
    BLUE,
    CYCLE,
    DASHES,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    legend_below,
    panels,
    styled,
)


@styled
def epsilon_revival():
    """DirectPred's map s -> p, and three modes of which epsilon revives one, two or three.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, eq. 18.
    """
    model = IsotropicModel(sigma2=0.2, eta=0.05)
    p_minus, p_plus = equilibria.parabola_fixed_points(model)
    figure, (axes,) = panels(1, 4, width=4.7, height=4.8)
    s = np.linspace(0, 1, 300)
    for epsilon, color, dash in zip((0, 0.05, 0.12), CYCLE, DASHES):
        p = [dynamics.directpred(np.diag([each, 1.0]), epsilon)[0, 0] for each in s]
        axes[0].plot(s, p, color=color, linestyle=dash, label=rf"DirectPred, $\epsilon={epsilon:g}$")
    axes[0].plot(s, s, color=BLACK, linewidth=1.5, label=r"DirectCopy, $\epsilon=0$")
    axes[0].set(xlabel=r"$s_j$ (largest: 1)", ylabel=r"$p_j$", title=r"the map $F\to W_p$")
    times = np.concatenate([[0.0], np.geomspace(0.1, 1500, 300)])
    for axis, epsilon in zip(axes[1:], (0.05, 0.1, 0.12)):
        params = ClosedFormNetwork(X=np.eye(3), X_prime=0.2 * np.eye(3), eta=0.05, epsilon=epsilon)
        W = trajectory(dynamics.closed_form_flow, np.diag([0.7, 0.02, 1e-4]), times, params)
        w = np.abs(np.diagonal(W, axis1=1, axis2=2))
        lift = epsilon * (w**2).max(axis=1)
        for j, color in enumerate((BLUE, ORANGE, VERMILLION)):
            axis.semilogx(times[1:], w[1:, j] ** 2, color=color, label=rf"$s_{j + 1}$", linestyle=DASHES[j])
        axis.semilogx(times[1:], lift[1:], color=PURPLE, linewidth=1.5, label=r"lift $\epsilon\,s_{\max}$")
        axis.axhline(p_minus, color=GREEN, linestyle=":", label=r"$p_-$")
        axis.set(xlabel=r"time $t$", title=rf"$\epsilon={epsilon:g}$", yscale="log", ylim=(1e-9, 2))
    axes[1].set_ylabel(r"$s_j$, eigenvalue of $F$")
    legend_below(figure, axes, 9)
    return figure


@styled
def survival():
    """Which features survive weight decay: p* against augmentation variance, and the threshold against decay.

    Markers are ends of the matrix flow, lines the formula.

    Returns:
        A matplotlib Figure.

    Reference: Wang et al. 2021.
    """
    sigma2 = np.linspace(0, 3, 400)
    tested = np.array([0, 0.1, 0.2, 0.4, 0.6, 1.0, 1.3, 2.0, 2.5])
    figure, axes = panels(1, 2, width=7, height=4.8)
    formula, scan = axes[0]
    for eta, color in zip((0.1, 0.15, 0.2), (BLUE, ORANGE, GREEN)):
        formula.plot(
            sigma2,
            equilibria.directset_fixed_point(IndependentFeatures(sigma2=sigma2, eta=eta)),
            color=color,
            label=rf"$p^*$, $\eta={eta:g}$",
        )
        for exponent, marker in ((0.5, "o"), (1.0, "s"), (2.0, "^")):
            params = ClosedFormNetwork(X=np.eye(9), X_prime=np.diag(tested), eta=eta, exponent=exponent)
            W = trajectory(dynamics.closed_form_flow, 0.5 ** (0.5 / exponent) * np.eye(9), [600.0], params)[0]
            p = np.diag(dynamics.directset(W @ W.T, exponent))
            formula.plot(
                tested,
                p,
                marker,
                color=color,
                fillstyle="none",
                markersize=6 + 4 * exponent,
                linestyle="",
            )
    for exponent, marker in ((0.5, "o"), (1.0, "s"), (2.0, "^")):
        formula.plot([], [], marker, color=BLACK, fillstyle="none", label=rf"flow, $W_p=F^{{{exponent:g}}}$")
    formula.set(
        xlabel=r"augmentation variance $\sigma_j^2$", ylabel=r"$p_j^*$", title="what is left of feature $j$"
    )
    _survival_scan(scan)
    legend_below(figure, axes[0], 6)
    return figure


def _survival_scan(axis):
    etas, tested = np.linspace(0.03, 0.24, 8), np.linspace(0.05, 3.05, 21)
    for eta in etas:
        params = IndependentFeatures(sigma2=tested, eta=eta)
        w = trajectory(dynamics.directset_mode_flow, np.full(tested.shape, 0.6), [3000.0], params)[0]
        alive = np.abs(w) > 1e-3
        axis.plot(np.full(alive.sum(), eta), tested[alive], "o", color=VERMILLION, label="survives")
        axis.plot(np.full((~alive).sum(), eta), tested[~alive], "x", color=BLACK, label="dies")
    curve = np.linspace(0.03, 0.25, 200)
    axis.plot(curve, equilibria.survival_variance(curve), color=BLUE, label=r"$\sigma^2=1/(4\eta)-1$")
    axis.set(
        xlabel=r"weight decay $\eta$", ylabel=r"$\sigma_j^2$", ylim=(0, 3.1), title="weight decay as a filter"
    )


@styled
def isoloss():
    """Per-mode steps of four losses, and growth of four modes under the plain and the isotropic loss.

    Returns:
        A matplotlib Figure.

    Reference: Halvagal et al. 2023.
    """
    figure, (axes,) = panels(1, 3, width=5.8, height=4.8)
    _mode_steps(axes[0])
    times = np.linspace(0, 20, 201)
    starts = np.array([0.001, 0.03, 0.3, 0.9])
    params = IndependentFeatures(sigma2=0.2, eta=0.05, exponent=1.0)
    fields = (dynamics.euclidean_mode_flow, dynamics.isotropic_mode_flow)
    for axis, field, title in zip(axes[1:], fields, ("Euclidean loss", "IsoLoss (Euclidean)")):
        s = trajectory(field, starts, times, params)
        for j, color in enumerate(CYCLE[:4]):
            axis.semilogy(times, s[:, j], color=color, linestyle=DASHES[j], label=rf"$s(0)={starts[j]:g}$")
        axis.axhline(equilibria.isoloss_fixed_point(params), color=BLACK, linestyle=":", linewidth=1.4)
        axis.set(xlabel=r"time $t$", ylabel=r"$s$, eigenvalue of $F$", title=title, ylim=(1e-4, 1.3))
    legend_below(figure, axes, 4)
    return figure


def _mode_steps(axis):
    """Steps over z for modes of equal z1 = z2 = z, against their predictor eigenvalue."""
    lam = np.linspace(0.02, 1, 50)
    z = np.ones_like(lam)
    losses = {
        "Euclidean": dynamics.euclidean_step,
        "IsoLoss, Euclidean": dynamics.isotropic_euclidean_step,
        "cosine": dynamics.cosine_step,
        "IsoLoss, cosine": dynamics.isotropic_cosine_step,
    }
    for (name, step), color, dash in zip(losses.items(), CYCLE[3:] + CYCLE[:1], DASHES):
        values = step(lam, z, z)
        # The cosine losses carry the number of modes in their norm; only the shape over lam is compared.
        axis.plot(lam, values / np.abs(values).max(), color=color, linestyle=dash, label=name)
    axis.axhline(0, color=BLACK, linewidth=1)
    axis.set(xlabel=r"predictor eigenvalue $\lambda_m$", title="how fast each mode learns")
    axis.set_ylabel(r"$-\partial L/\partial z_m$ over its maximum")
