"""Figures of one decoupled mode: bifurcation, moving-average target, hyper-parameters, alignment."""

import dataclasses

import numpy as np

from tf_directpred.theory import equilibria
from tf_directpred.theory.dynamics import (
    alignment_ceiling,
    alignment_eigenvalue,
    growth_margin,
    mode_ema_flow,
    mode_flow,
    mode_imbalance,
    parabola_flow,
)
from tf_directpred.theory.integrate import collapse_boundary, ema_threshold, first_crossing, trajectory
from tf_directpred.theory.parameters import IsotropicModel
from tf_directpred.theory.portraits.style import (
    BLACK,
    BLUE,
    CYCLE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    legend_below,
    panels,
    styled,
)


@styled
def bifurcation(sigma2=0.25, tau=1.0):
    """The field on the parabola for four weight decays, and the fixed points p_-+ as weight decay grows.

    Args:
        sigma2, tau: as in `IsotropicModel`.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, eq. 16 and Fig. 4.
    """
    base = IsotropicModel(sigma2=sigma2, tau=tau)
    eta_c, eta_align = equilibria.critical_decay(base), equilibria.alignment_decay(base)
    figure, (axes,) = panels(1, 2, width=7, height=4.8)
    p = np.linspace(-0.1, 1.0, 400)
    for share, color, dash in zip((0, 0.5, 1, 1.5), CYCLE, DASHES):
        params = dataclasses.replace(base, eta=share * eta_c)
        axes[0].plot(
            p, parabola_flow(0, p, params), color=color, linestyle=dash, label=rf"$\eta={params.eta:g}$"
        )
    axes[0].axhline(0, color=BLACK, linewidth=1)
    axes[0].set(ylim=(-0.15, 0.15), xlabel=r"$p$", ylabel=r"$\dot p$")
    axes[0].set_title(r"$\dot p=p^2[\tau-(1+\sigma^2)p]-\eta p$")
    etas = np.linspace(0, eta_c, 400)
    roots = np.array([equilibria.parabola_fixed_points(dataclasses.replace(base, eta=eta)) for eta in etas])
    axes[1].plot(etas, roots[:, 1], color=VERMILLION, label=r"$p_+$, stable")
    axes[1].plot(etas, roots[:, 0], "--", color=GREEN, label=r"$p_-$, unstable")
    axes[1].plot([0, 1.5 * eta_c], [0, 0], color=VERMILLION, linewidth=3.5, label=r"$p=0$, stable")
    axes[1].axvline(eta_c, color=BLACK, linestyle=":", label=r"$\eta_c=\tau^2/4(1+\sigma^2)$")
    axes[1].axvspan(eta_align, eta_c, color=SKY, alpha=0.25, label=r"$K>0$ on the whole parabola")
    axes[1].fill_between(
        etas, 0, roots[:, 0], color=PURPLE, alpha=0.22, linewidth=0, label="basin of collapse"
    )
    axes[1].axvspan(eta_c, 1.5 * eta_c, color=PURPLE, alpha=0.22, linewidth=0)
    axes[1].set(xlabel=r"weight decay $\eta$", ylabel=r"fixed points $p$", xlim=(0, 1.5 * eta_c))
    axes[1].set_title("its fixed points")
    figure.suptitle(
        rf"$\tau={tau:g},\ \sigma^2={sigma2:g}$: half-stable at $\eta=0$ and at $\eta_c={eta_c:g}$"
    )
    legend_below(figure, axes, 4)
    return figure


@styled
def target_curriculum():
    """A moving-average target that starts empty: p, s, tau and K of one mode for six EMA rates.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, eqs. 11-13.
    """
    times = np.concatenate([[0.0], np.geomspace(0.05, 600, 400)])
    p0 = 0.1
    figure, (axes,) = panels(1, 4, width=4.6, height=4.6)
    for beta, color, dash in zip((None, 2.0, 0.4, 0.1, 0.02, 0.005), CYCLE, DASHES):
        params = IsotropicModel(sigma2=0.2, eta=0.02, beta=beta or 0.0)
        if beta is None:
            p, s = trajectory(mode_flow, [p0, p0**2], times, params).T
            tau = np.ones_like(p)
        else:
            p, s, tau = trajectory(mode_ema_flow, [p0, p0**2, 0.0], times, params).T
        # K with the ratio the target has at that time, which changes from sample to sample.
        K = alignment_eigenvalue(p, s, params) + (1 - tau) * p
        label = r"no EMA ($\tau=1$)" if beta is None else rf"$\beta={beta:g}$"
        for axis, values in zip(axes, (p, s, tau, K)):
            axis.semilogx(times[1:], values[1:], color=color, linestyle=dash, label=label)
    axes[3].axhline(0, color=BLACK, linewidth=1)
    names = (r"$p$, predictor", r"$s$, correlation", r"$\tau$, target / online", r"$K$, alignment")
    for axis, name in zip(axes, names):
        axis.set(xlabel=r"time $t$", title=name)
        axis.set_ylabel(name.split(",")[0])
    legend_below(figure, axes, 6)
    return figure


@styled
def hyperparameters():
    """What alpha_p, weight decay and EMA rate do to the basin of collapse, to the memory and to the speed.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Section 4.
    """
    figure, axes = panels(2, 3, width=5.4, height=4.3)
    _predictor_rate(axes[0, 0])
    _memory(axes[0, 1])
    _weight_decay(axes[0, 2])
    _target_rate(axes[1])
    for axis in axes.ravel():
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def _predictor_rate(axis):
    rates = np.geomspace(0.5, 8, 9)
    models = [IsotropicModel(sigma2=0.25, eta=0.1, alpha_p=rate) for rate in rates]
    threshold = [collapse_boundary(0.0, params) for params in models]
    height = [equilibria.mode_fixed_points(params)[-1].s for params in models]
    axis.loglog(rates, height, "-o", color=BLUE, label=r"$s_+=p_+^2/\alpha_p$")
    axis.loglog(rates, threshold, "--s", color=VERMILLION, label=r"escape $s_0^*$")
    axis.set(
        xlabel=r"predictor rate $\alpha_p$",
        ylabel=r"$s$",
        title=r"larger $\alpha_p$: smaller basin, lower $s_+$",
    )
    axis.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axis.minorticks_off()


def _memory(axis):
    times = np.linspace(0, 30, 121)
    for eta, color, dash in zip((0.02, 0.1, 0.2), CYCLE, DASHES):
        params = IsotropicModel(sigma2=0.25, eta=eta)
        p, s = trajectory(mode_flow, [-0.3, 0.5], times, params).T
        axis.semilogy(
            times, mode_imbalance(p, s, params), color=color, linestyle=dash, label=rf"$\eta={eta:g}$"
        )
    exact = 0.41 * np.exp(-2 * 0.1 * times[::15])
    axis.plot(times[::15], exact, "o", color=BLACK, fillstyle="none", label=r"$c\,e^{-2\eta t}$")
    axis.set(xlabel=r"time $t$", ylabel=r"$s-p^2/\alpha_p$", title=r"$\eta$ forgets the start")


def _weight_decay(axis):
    etas = np.linspace(0.005, 0.2, 40)
    models = [IsotropicModel(sigma2=0.25, eta=eta) for eta in etas]
    axis.plot(
        etas, [equilibria.parabola_fixed_points(params)[0] for params in models], color=GREEN, label=r"$p_-$"
    )
    threshold = [collapse_boundary(0.0, params) for params in models]
    axis.plot(etas, threshold, "--", color=VERMILLION, label=r"escape $s_0^*$ at $p_0=0$")
    axis.axvline(equilibria.critical_decay(models[0]), color=BLACK, linestyle=":", label=r"$\eta_c$")
    axis.set(xlabel=r"weight decay $\eta$", ylabel="threshold", title=r"larger $\eta$: larger basin")


def _target_rate(axes):
    rates = np.geomspace(0.04, 2, 7)
    models = [IsotropicModel(sigma2=0.2, eta=0.02, beta=beta) for beta in rates]
    p_minus, p_plus = equilibria.parabola_fixed_points(models[0])
    axes[0].semilogx(
        rates, [ema_threshold(params) for params in models], "-o", color=VERMILLION, label="with EMA"
    )
    axes[0].axhline(p_minus, color=GREEN, linestyle="--", label=r"$p_-$ (no EMA)")
    axes[0].set(ylabel=r"escape $p_0$ on the parabola", title=r"smaller $\beta$: larger basin")
    times = np.linspace(0, 400, 4001)
    speed, lowest = [], []
    for params in models:
        p, s, tau = trajectory(mode_ema_flow, [0.1, 0.01, 0.0], times, params).T
        speed.append(first_crossing(times, p, 0.9 * p_plus))
        lowest.append((alignment_eigenvalue(p, s, params) + (1 - tau) * p).min())
    axes[1].loglog(rates, speed, "-o", color=BLUE, label=r"$p>0.9\,p_+$ from $p_0=0.1$")
    axes[1].set(ylabel=r"time $t$", title=r"smaller $\beta$: slower")
    axes[1].set_yticks([20, 40, 80, 160], ["20", "40", "80", "160"])
    axes[1].minorticks_off()
    axes[2].semilogx(rates, lowest, "-o", color=ORANGE, label=r"$\min_t K$ from $p_0=0.1$")
    axes[2].axhline(0, color=BLACK, linewidth=1)
    axes[2].set(ylabel=r"$K$", title=r"smaller $\beta$: safer alignment")
    for axis in axes:
        axis.set_xlabel(r"EMA rate $\beta$")


@styled
def alignment_condition(sigma2=0.25):
    """Delta against 1/2 [alpha_p (1 + sigma2) s + eta] on the parabola for three decays, and off it.

    Args:
        sigma2: as in `IsotropicModel`.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, eq. 17.
    """
    limit = equilibria.alignment_decay(IsotropicModel(sigma2=sigma2))
    figure, (axes,) = panels(1, 4, width=4.7, height=4.8)
    p = np.linspace(0, 0.9, 400)
    for axis, eta, name in zip(axes, (0.02, limit, 0.15), ("", r"=\eta_{\mathrm{align}}", "")):
        params = IsotropicModel(sigma2=sigma2, eta=eta)
        margin, ceiling = growth_margin(p, params), alignment_ceiling(p**2, params)
        axis.plot(p, margin, color=BLUE, label=r"$\Delta=p[\tau-(1+\sigma^2)p]-\eta$")
        axis.plot(
            p,
            ceiling,
            "--",
            color=VERMILLION,
            label=r"$\frac{1}{2}[\alpha_p(1+\sigma^2)s+\eta]$, $s=p^2/\alpha_p$",
        )
        axis.fill_between(
            p,
            margin,
            ceiling,
            where=margin > ceiling,
            color=ORANGE,
            alpha=0.4,
            label=r"$K<0$: alignment at risk",
        )
        for root, marker in zip(equilibria.parabola_fixed_points(params), "DP"):
            names = {"D": r"$p_-$", "P": r"$p_+$"}
            axis.plot(root, 0, marker, color=BLACK, markersize=9, linestyle="", label=names[marker])
        axis.axhline(0, color=GREY, linewidth=1)
        axis.set(xlabel=r"$p$", title=rf"$\eta={eta:.3g}{name}$", ylim=(-0.3, 0.45))
    axes[0].set_ylabel("rate")
    _unaligned_region(axes[3], sigma2)
    legend_below(figure, axes, 4)
    return figure


def _unaligned_region(axis, sigma2, eta=0.02):
    grid, s = np.meshgrid(np.linspace(0, 0.9, 300), np.linspace(0, 0.4, 300))
    for alpha_p, color, dash in zip((1, 3, 10), (PURPLE, GREEN, BLACK), DASHES):
        params = IsotropicModel(sigma2=sigma2, eta=eta, alpha_p=alpha_p)
        K = alignment_eigenvalue(grid, s, params)
        axis.contour(grid, s, K, levels=[0], colors=color, linestyles=[dash], linewidths=2.2)
        axis.plot([], [], color=color, linestyle=dash, label=rf"$K=0$ in the plane, $\alpha_p={alpha_p}$")
    axis.set(xlabel=r"$p$", ylabel=r"$s$", title=rf"$K<0$ below the line ($\eta={eta:g}$)")
