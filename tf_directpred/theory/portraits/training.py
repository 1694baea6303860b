"""Figures that hold trained linear networks against the flows they should follow."""

import numpy as np

from tf_directpred.theory.portraits.style import (
    BLACK,
    CYCLE,
    DASHES,
    VERMILLION,
    legend_below,
    panels,
    styled,
)


@styled
def lemma1_error(learning_rates, times, errors):
    """Distance of training from Lemma 1's flow along time, and at the end against the learning rate.

    Args:
        learning_rates: `(R,)`; times: `(T,)`; errors: `(R, T)`, relative distances.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Lemma 1.
    """
    figure, (axes,) = panels(1, 2, width=7, height=4.8)
    for rate, error, color, dash in zip(learning_rates, errors, CYCLE, DASHES):
        # All start from the flow's own start, where the error is zero and has no logarithm.
        axes[0].semilogy(times[1:], error[1:], color=color, linestyle=dash, label=f"learning rate {rate:g}")
    axes[0].set(
        xlabel=r"time $t=4\times$ learning rate $\times$ steps", ylabel="relative distance from the flow"
    )
    last = np.asarray(errors)[:, -1]
    rates = np.asarray(learning_rates)
    axes[1].loglog(rates, last, "o", color=BLACK, markersize=9, label="training")
    axes[1].loglog(
        rates, last[-1] * rates / rates[-1], color=VERMILLION, label="proportional to the learning rate"
    )
    axes[1].set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes[1].set_yticks(last, [f"{error:.2g}" for error in last])
    axes[1].minorticks_off()
    axes[1].set(xlabel="learning rate", ylabel=f"distance at t = {times[-1]:g}")
    legend_below(figure, axes, 3)
    return figure


@styled
def directpred_modes(times, trained, flow):
    """Predictor eigenvalues of a network trained with DirectPred beside the one-dimensional flow.

    Args:
        times: `(T,)`; trained, flow: `(T, m)`.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, eqs. 16 and 18.
    """
    figure, ((axis,),) = panels(1, 1, width=9.5, height=5)
    every = max(len(times) // 30, 1)
    for j, (color, dash) in enumerate(zip(CYCLE, DASHES[: np.shape(flow)[1]])):
        axis.plot(times, flow[:, j], color=color, linestyle=dash, label=f"flow, mode {j + 1}")
        axis.plot(times[::every], trained[::every, j], "o", color=color, fillstyle="none")
    axis.plot([], [], "o", color=BLACK, fillstyle="none", label="training")
    axis.set(xlabel=r"time $t$", ylabel=r"$p_j$, eigenvalue of $W_p$")
    legend_below(figure, [axis], 4)
    return figure


@styled
def collapse_rates(times, trained, flow):
    """Encoder norm of networks trained without stop-gradient and without predictor, beside the flows.

    Args:
        times: `(T,)`; trained, flow: `(T, 2)`, columns: no stop-gradient, no predictor.

    Returns:
        A matplotlib Figure.

    Reference: Tian et al. 2021, Theorem 2.
    """
    figure, ((axis,),) = panels(1, 1, width=9.5, height=5)
    every = max(len(times) // 30, 1)
    for j, name in enumerate(("no stop-gradient", "no predictor")):
        axis.semilogy(times, flow[:, j], color=CYCLE[j], linestyle=DASHES[j], label=f"flow, {name}")
        axis.semilogy(
            times[::every],
            trained[::every, j],
            "os"[j],
            color=CYCLE[j],
            fillstyle="none",
            label=f"training, {name}",
        )
    axis.set(xlabel=r"time $t$", ylabel=r"$\Vert W\Vert_F$")
    legend_below(figure, [axis], 2)
    return figure
