"""Error of solver="newton_schulz" (float32, matrix products) against the exact W_p in float64.

    python benchmarks/newton_schulz.py          -> benchmarks/newton_schulz.md; about two minutes on one core
"""

import pathlib

import numpy as np
import tensorflow as tf

from tf_directpred.predictors import DirectPredLayer

TABLE = pathlib.Path(__file__).with_suffix(".md")
SIDES = (16, 64, 256, 1024)
SETTINGS = [(epsilon, normalize) for epsilon in (0.01, 0.1) for normalize in (True, False)]
HEADER = """# Newton-Schulz against the exact predictor

Made by `python benchmarks/newton_schulz.py`. F = Q diag(s) Q^T in float32, Q a random rotation; the error is
|W - W_p| / |W_p| in spectral norm, W of `DirectPredLayer(solver="newton_schulz")` in float32, 20 iterations,
W_p = sqrt(F) + epsilon s_max I from the known spectrum in float64; s_max = 1. Spectra: geometric from 1 down
to 1/condition; a rank and zeros; one eigenvalue above d - 1 equal ones, where power iteration fails.
"""


def spectra(d):
    """Names and spectra, largest first."""
    cases = {f"condition 1e{k}": np.geomspace(1, 10.0**-k, d) for k in (2, 4, 6, 8, 10)}
    ranks = {"1": 1, "4": 4, "d/2": d // 2}
    cases |= {f"rank {name}": np.r_[np.linspace(1, 0.1, r), np.zeros(d - r)] for name, r in ranks.items()}
    return cases | {f"1, then {top}": np.r_[1, np.full(d - 1, top)] for top in (0.999, 0.97)}


def rotation(d):
    return np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]


def relative_error(s, q, epsilon, normalize):
    """Of the kernel of F = Q diag(s) Q^T with max s = 1, for which the two formulas agree."""
    layer = DirectPredLayer(epsilon=epsilon, normalize=normalize, solver="newton_schulz")
    kernel = layer.solve(tf.constant((q * s) @ q.T, "float32")).numpy()
    exact = (q * (np.sqrt(s) + epsilon)) @ q.T
    return np.linalg.norm(kernel - exact, 2) / np.linalg.norm(exact, 2)


def main():
    names = [f"epsilon={epsilon}, normalize={normalize}" for epsilon, normalize in SETTINGS]
    lines = [f"| d | spectrum | {' | '.join(names)} |", "|---|---|" + "---|" * len(SETTINGS)]
    worst = 0.0
    for d in SIDES:
        q = rotation(d)
        for name, s in spectra(d).items():
            errors = [relative_error(s, q, *setting) for setting in SETTINGS]
            worst = max(worst, *errors)
            lines.append(f"| {d} | {name} | " + " | ".join(f"{error:.1e}" for error in errors) + " |")
            print(lines[-1], flush=True)
    TABLE.write_text(f"{HEADER}\nLargest: {worst:.1e} (allowed: 1e-3).\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
