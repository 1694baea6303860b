"""The theory's page: every figure as PNG beside `theory.html`, which explains each next to its equation."""

import functools
import html
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tf_directpred.theory import patch_sgd, portraits, prediction_head
from tf_directpred.theory.integrate import outcomes
from tf_directpred.theory.parameters import IsotropicModel, PatchModel, require
from tf_directpred.theory.report_text import CHAPTERS, PAGE

HEAD_RATES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)

# What `training` must hold, and the figure each group of entries becomes.
_TRAINING = {
    "training_lemma1": (portraits.lemma1_error, ("learning_rates", "flow_times", "flow_errors")),
    "training_directpred": (portraits.directpred_modes, ("mode_times", "modes_trained", "modes_flow")),
    "training_collapse": (portraits.collapse_rates, ("collapse_times", "collapse_trained", "collapse_flow")),
}


class Entry(NamedTuple):
    """A figure of the page: its file's stem, and the function that draws it."""

    name: str
    draw: Callable


def count_learned(strength, rates, starts, seed=0, dimension=64, horizon=1e7):
    """How many random starts learn both features, at each head rate.

    Args:
        strength: `(alpha_1, alpha_2)`; rates: `(R,)` head rates.
        starts: how many starts; seed, dimension: of `prediction_head.random_starts`.
        horizon: time to integrate to.

    Returns:
        `(R,)` integers.

    Reference: Wen & Li 2022.
    """
    states = prediction_head.random_starts(starts, dimension, seed)
    counts = []
    for rate in rates:
        params = PatchModel(strength=strength, head_rate=rate)
        ends = outcomes(
            prediction_head.population_flow, states, horizon, params, prediction_head.distance_to_settled
        )
        counts.append(int(prediction_head.learns_both_features(ends).sum()))
    return np.array(counts)


def _phase_plane(*decays):
    return portraits.phase_portraits([IsotropicModel(sigma2=0.25, eta=eta) for eta in decays])


def _head_training(progress):
    params = PatchModel(head_rate=0.2)
    start = prediction_head.demonstration_start()
    return portraits.head_training(*patch_sgd.train(start, 140.0, params, progress=progress), params)


def _random_starts(progress, starts=24):
    learned = {}
    for strength in ((3.0, 1.5), (2.0, 1.0)):
        progress(f"  {starts} random starts at {len(HEAD_RATES)} head rates, strengths {strength}")
        learned[strength] = count_learned(strength, HEAD_RATES, starts)
    return portraits.random_start_rates(HEAD_RATES, learned, starts)


def _entries(progress, training):
    entries = [
        Entry("weight_balance", portraits.weight_balance),
        Entry("collapse", portraits.collapse),
        Entry("alignment", portraits.alignment),
        Entry("phase_portraits", lambda: _phase_plane(0.0, 0.1, 0.3)),
        Entry("phase_portraits_paper", lambda: _phase_plane(0.0, 0.01, 1.0)),
        Entry("bifurcation", portraits.bifurcation),
        Entry("hyperparameters", portraits.hyperparameters),
        Entry("alignment_condition", portraits.alignment_condition),
        Entry("target_curriculum", portraits.target_curriculum),
        Entry("epsilon_revival", portraits.epsilon_revival),
        Entry("survival", portraits.survival),
        Entry("isoloss", portraits.isoloss),
        Entry("head_regimes", portraits.head_regimes),
        Entry("head_training", lambda: _head_training(progress)),
        Entry("random_starts", lambda: _random_starts(progress)),
    ]
    if training is not None:
        for name, (draw, keys) in _TRAINING.items():
            arrays = [np.asarray(training[key]) for key in keys]
            entries.append(Entry(name, functools.partial(draw, *arrays)))
    return entries


def _page(names):
    sections = []
    for title, figures in CHAPTERS:
        shown = [figure for figure in figures if figure.name in names]
        if not shown:
            continue
        sections.append(f"<h2>{html.escape(title)}</h2>")
        for figure in shown:
            sections.append(
                f'<section id="{figure.name}"><h3>{html.escape(figure.title)}</h3>\n'
                f'<div class="equation">{figure.equation}</div>\n<p>{figure.text}</p>\n'
                f'<a href="{figure.name}.png">'
                f'<img src="{figure.name}.png" alt="{html.escape(figure.title)}"></a>\n'
                "</section>"
            )
    return PAGE.format(sections="\n".join(sections))


def write_report(run_dir, progress=print, training=None):
    """Draws every figure of the theory into a folder, and `theory.html`, which explains them.

    Args:
        run_dir: the folder; made if it is not there.
        progress: function of a line of text, called before each figure and within the slow ones.
        training: None, or a dict of arrays that hold trained linear networks beside their flows:

            learning_rates    (R,)     learning rates a run was made at, decreasing
            flow_times        (T,)     times, from 0, at which runs and flow are compared
            flow_errors       (R, T)   ||training - Lemma 1's flow|| / ||flow|| over (W_p, W, W_a)
            mode_times        (T,)     times, from 0, of the DirectPred run
            modes_trained     (T, m)   its predictor's eigenvalues p_j
            modes_flow        (T, m)   p_j of dp/dt = p^2 [tau - (1 + sigma2) p] - eta p from the same start
            collapse_times    (T,)     times, from 0, of two runs that collapse
            collapse_trained  (T, 2)   ||W||_F of training; columns: no stop-gradient, no predictor
            collapse_flow     (T, 2)   ||W||_F of their flows, in the same columns

            The three T may differ.

    Returns:
        The path of `theory.html`.

    Raises:
        ValueError: training lacks an entry.
    """
    if training is not None:
        needed = {key for _, keys in _TRAINING.values() for key in keys}
        missing = sorted(needed - set(training))
        require(not missing, "training", f"hold {', '.join(missing)} too", sorted(training))
    os.makedirs(run_dir, exist_ok=True)
    began = time.perf_counter()
    entries = _entries(progress, training)
    for n, entry in enumerate(entries, 1):
        progress(f"[{n}/{len(entries)}] {entry.name}.png, {time.perf_counter() - began:.0f} s")
        portraits.save(entry.draw(), os.path.join(run_dir, f"{entry.name}.png"))
    path = os.path.join(run_dir, "theory.html")
    with open(path, "w", encoding="utf-8") as page:
        page.write(_page({entry.name for entry in entries}))
    progress(f"{path}, {time.perf_counter() - began:.0f} s")
    return path
