"""Figures of the trainable off-diagonal head: regimes of its rate, SGD beside the flow, random starts."""

import numpy as np

from tf_directpred.theory import prediction_head as head
from tf_directpred.theory.integrate import first_crossing, trajectory
from tf_directpred.theory.parameters import PatchModel
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

REGIMES = {0.0: "frozen head", 0.003: "too slow", 0.2: "in the window", 30.0: "too fast"}
_LOOKS = (((VERMILLION, "-"), (VERMILLION, "--")), ((BLUE, "-"), (BLUE, "--")))


@styled
def head_regimes(horizon=3500.0):
    """Cosines, head, and agreement along the population flow at four head rates.

    Args:
        horizon: time to integrate to.

    Returns:
        A matplotlib Figure.

    Reference: Wen & Li 2022.
    """
    times = np.concatenate([[0.0], np.geomspace(0.1, horizon, 600)])
    start = head.demonstration_start()
    figure, axes = panels(3, len(REGIMES), width=4.6, height=3.5, sharex=True)
    for column, (rate, name) in zip(axes.T, REGIMES.items()):
        params = PatchModel(head_rate=rate)
        # Once a feature is learned the flow is stiff, and an explicit method slow.
        y = trajectory(head.population_flow, start, times, params, method="LSODA", rtol=1e-8, atol=1e-11)
        _cosines(column[0], times[1:], y[1:])
        column[1].semilogx(times[1:], y[1:, 8], color=BLUE, label=r"$E_{21}$")
        column[1].semilogx(times[1:], y[1:, 7], "--", color=VERMILLION, label=r"$E_{12}$")
        if y[-1, 8] < y[:, 8].max() / 10:
            _phases(column[1], times, y)
        bound = head.head_bound(start, params)
        column[1].axhline(
            bound, color=BLACK, linestyle=":", label=r"$\sqrt{\eta_E/3\eta}\,\Vert w_2(0)\Vert$"
        )
        _agreement(column[2], times[1:], y[1:], params)
        column[0].set_title(rf"{name}: $\eta_E/\eta={rate:g}$")
        column[2].set_xlabel(r"time $t$ = steps $\times\,\eta$")
    for axis, name in zip(axes[:, 0], (r"$|\cos(w_j,v_l)|$", r"head $E$", "agreement, norm")):
        axis.set_ylabel(name)
    legend_below(figure, axes.ravel(), 6)
    return figure


def _phases(axis, times, y):
    """Marks the four phases of Wen & Li where the head rises and falls again."""
    head_21, peak = y[:, 8], y[:, 8].argmax()
    ends = [
        first_crossing(times, head.cosines(y)[:, 0, 0], 0.8),
        first_crossing(times, head_21, 0.9 * head_21[peak]),
        first_crossing(times[peak:], -head_21[peak:], -0.5 * head_21[peak]),
        times[-1],
    ]
    start = times[1]
    for n, (end, name) in enumerate(zip(ends, ("I", "II", "III", "IV"))):
        axis.axvspan(start, end, color=BLACK, alpha=0.03 + 0.06 * (n % 2), linewidth=0)
        axis.text(np.sqrt(start * end), 0.42 * head_21[peak], name, ha="center")
        start = end


def _cosines(axis, times, y):
    cosines = head.cosines(y)
    for j in (0, 1):
        for l in (0, 1):
            color, dash = _LOOKS[j][l]
            label = rf"$|\cos(w_{j + 1},v_{l + 1})|$"
            axis.semilogx(times, cosines[:, j, l], color=color, linestyle=dash, label=label)


def _agreement(axis, times, y, params):
    rho = head.output_agreement(y, params)
    axis.semilogx(times, head.output_correlation(y, params), color=BLACK, label=r"corr$(f_1,f_2)$")
    axis.semilogx(times, rho[:, 0], color=ORANGE, linestyle="-.", label=r"$\rho_1$")
    axis.semilogx(times, rho[:, 1], color=GREEN, linestyle="--", label=r"$\rho_2$")
    axis.semilogx(
        times, head.squared_norms(y)[:, 1], color=PURPLE, linestyle=":", label=r"$\Vert w_2\Vert^2$"
    )


@styled
def head_training(times, trained, params):
    """States of a network trained on patches beside the population flow from the same start.

    Args:
        times: `(T,)`; trained: `(T, 9)`, from `patch_sgd.train`; params: `PatchModel` of both.

    Returns:
        A matplotlib Figure.

    Reference: Wen & Li 2022.
    """
    fine = np.linspace(0, times[-1], 800)[1:]
    flow = trajectory(head.population_flow, trained[0], fine, params)
    figure, (axes,) = panels(1, 4, width=4.7, height=4.8)
    dots = {"linestyle": "", "marker": "o", "markersize": 4, "fillstyle": "none"}
    for j, axis in enumerate(axes[:2]):
        for l, dash in enumerate(DASHES[:2]):
            axis.plot(
                fine, head.cosines(flow)[:, j, l], color=CYCLE[l], linestyle=dash, label=rf"flow, $v_{l + 1}$"
            )
            axis.plot(
                times, head.cosines(trained)[:, j, l], color=CYCLE[l], label=rf"SGD, $v_{l + 1}$", **dots
            )
        axis.set(title=rf"$|\cos(w_{j + 1},v_l)|$", ylabel="cosine", ylim=(0, 1.03))
    for axis, index, title in ((axes[2], 8, r"head $E_{21}$"), (axes[3], None, r"$\Vert w_2\Vert^2$")):
        for moments, states, style in ((fine, flow, {"linestyle": "-"}), (times, trained, dots)):
            values = states[:, index] if index else head.squared_norms(states)[:, 1]
            axis.plot(moments, values, color=GREEN, **style)
        axis.set(title=title, ylabel=title.removeprefix("head "))
    for axis in axes:
        axis.set_xlabel(r"time $t$ = steps $\times\,\eta$")
    figure.suptitle(rf"$\eta_E/\eta={params.head_rate:g}$: lines the population flow, circles SGD on patches")
    legend_below(figure, axes[:2], 4)
    return figure


@styled
def random_start_rates(rates, learned, starts):
    """Share of random starts that learn both features, against the head's rate.

    Args:
        rates: `(R,)` head rates, the first 0: no trainable head.
        learned: dict from `strength` pairs to `(R,)` counts.
        starts: number of starts behind each count.

    Returns:
        A matplotlib Figure.

    Reference: Wen & Li 2022.
    """
    figure, ((axis,),) = panels(1, 1, width=9.5, height=5)
    for (strength, counts), color, dash in zip(learned.items(), CYCLE, DASHES):
        share = np.asarray(counts) / starts
        label = rf"$(\alpha_1,\alpha_2)=({strength[0]:g},{strength[1]:g})$"
        axis.semilogx(rates[1:], share[1:], color=color, linestyle=dash, marker="o", label=label)
        axis.axhline(share[0], color=color, linestyle=dash, linewidth=1.2, alpha=0.7)
    axis.plot([], [], color=BLACK, linewidth=1.2, label="thin: without trainable head")
    axis.set(xlabel=r"head rate $\eta_E/\eta$", ylabel="share of starts that learn both", ylim=(0, 1.03))
    axis.set_title(f"{starts} random starts a point")
    legend_below(figure, [axis], 2)
    return figure
