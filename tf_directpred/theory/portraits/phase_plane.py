"""Phase portraits of one mode in the (p, s) plane for no, weak and strong weight decay."""

import numpy as np

from tf_directpred.theory.dynamics import mode_flow
from tf_directpred.theory.equilibria import critical_decay, mode_fixed_points
from tf_directpred.theory.integrate import collapse_boundary
from tf_directpred.theory.portraits.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    legend_below,
    panels,
    styled,
)

_P, _S = (-0.6, 1.3), (0.0, 1.2)


@styled
def phase_portraits(cases):
    """Streamlines, nullclines, invariant parabola, fixed points by type, separatrix and shaded basin.

    Args:
        cases: sequence of `IsotropicModel`, one panel each.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Fig. 3.
    """
    figure, axes = panels(1, len(cases), height=6, sharey=True)
    for axis, params in zip(axes[0], cases):
        _streamlines(axis, params)
        _basin(axis, params)
        _curves(axis, params)
        _lines_of_fixed_points(axis, params) if params.eta == 0 else _fixed_points(axis, params)
        axis.set(xlim=_P, ylim=(-0.015, _S[1]), xlabel=r"$p$, eigenvalue of $W_p$")
        axis.set_title(rf"$\eta={params.eta:g}$  ($\eta_c={critical_decay(params):g}$)")
        axis.grid(False)
    axes[0, 0].set_ylabel(r"$s$, eigenvalue of $F$")
    model = cases[0]
    figure.suptitle(rf"$\tau={model.tau:g},\ \alpha_p={model.alpha_p:g},\ \sigma^2={model.sigma2:g}$")
    legend_below(figure, axes[0], 4)
    return figure


def _streamlines(axis, params):
    p, s = np.meshgrid(np.linspace(*_P, 90), np.linspace(*_S, 90))
    axis.streamplot(p, s, *mode_flow(0.0, np.array([p, s]), params), color=SKY, density=1.15, linewidth=0.9)


def _basin(axis, params):
    p = np.linspace(*_P, 500)
    boundary = collapse_boundary(p, params)
    axis.fill_between(
        p, 0, np.minimum(boundary, _S[1]), color=PURPLE, alpha=0.22, linewidth=0, label="basin of collapse"
    )
    if params.eta == 0:
        # Between the two parabolas the boundary is the line s = 0 itself.
        boundary = np.where(boundary > 0, boundary, np.nan)
    if np.isfinite(boundary).any():
        axis.plot(p, boundary, color=PURPLE, linewidth=3, label="separatrix")


def _curves(axis, params):
    p = np.linspace(*_P, 500)
    axis.plot(p, p**2 / params.alpha_p, "--", color=BLACK, label=r"parabola $s=p^2/\alpha_p$")
    if params.eta == 0:
        return
    asymptote = params.tau / (1 + params.sigma2)
    inside = np.linspace(0, asymptote, 2000)[:-1]
    nullcline = params.eta * inside / (params.alpha_p * (params.tau - (1 + params.sigma2) * inside))
    axis.plot(inside, nullcline, color=ORANGE, label=r"$\dot p=0$")
    for point in mode_fixed_points(params)[1:]:
        axis.axvline(point.p, color=BLACK, linestyle=":", linewidth=1.4, label=r"$\dot s=0$ ($p=p_\pm$)")


def _lines_of_fixed_points(axis, params):
    alive = params.tau / (1 + params.sigma2)
    stable = {"color": VERMILLION, "linewidth": 4.5, "label": "stable fixed points"}
    axis.plot([alive, alive], _S, **stable)
    for start, stop in ((_P[0], 0), (alive, _P[1])):
        axis.plot([start, stop], [0, 0], clip_on=False, **stable)
    axis.plot(
        [0, alive],
        [0, 0],
        color=GREEN,
        linewidth=4.5,
        linestyle=(0, (1.2, 0.6)),
        clip_on=False,
        label="unstable fixed points",
    )


def _fixed_points(axis, params):
    looks = {
        "stable node": {"marker": "o", "color": VERMILLION, "markersize": 14, "zorder": 5},
        # Smaller and on top: for weak decay it all but coincides with the node at the origin.
        "saddle": {"marker": "D", "color": GREEN, "markersize": 7, "zorder": 6},
        "half-stable": {"marker": "s", "color": BLUE, "markersize": 9, "zorder": 6},
    }
    for point in mode_fixed_points(params):
        axis.plot(
            point.p,
            point.s,
            markeredgecolor=BLACK,
            linestyle="",
            clip_on=False,
            label=point.kind,
            **looks[point.kind],
        )
