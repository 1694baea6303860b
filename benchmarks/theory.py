"""The theory's long runs: SGD on patches at every head rate beside the flow, and many random starts.

    python benchmarks/theory.py

Writes theory.md, theory_sgd_*.png and theory_starts.png beside itself, in about ten minutes on two CPU cores.
"""

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tf_directpred.theory import patch_sgd, portraits, prediction_head  # noqa: E402
from tf_directpred.theory.integrate import trajectory  # noqa: E402
from tf_directpred.theory.parameters import PatchModel  # noqa: E402
from tf_directpred.theory.report import HEAD_RATES, count_learned  # noqa: E402

OUT = ROOT / "benchmarks"
REGIMES = (0.0, 0.003, 0.2, 30.0)
HORIZON = 200.0
REPORT_AT = (60.0, 120.0, 200.0)
STRENGTHS = ((3.0, 1.5), (3.0, 1.0), (2.0, 1.0))
STARTS = 48


def training_rows(rate):
    """Trains at one head rate, draws it, and returns its table rows: SGD and flow at three times."""
    params, start = PatchModel(head_rate=rate), prediction_head.demonstration_start()
    times, trained = patch_sgd.train(start, HORIZON, params, progress=print)
    portraits.save(portraits.head_training(times, trained, params), OUT / f"theory_sgd_{rate:g}.png")
    flow = trajectory(prediction_head.population_flow, start, REPORT_AT, params)
    rows = []
    for time, exact in zip(REPORT_AT, flow):
        sampled = trained[np.argmin(np.abs(times - time))]
        for name, y in (("SGD", sampled), ("flow", exact)):
            cosines = " | ".join(f"{cosine:.3f}" for cosine in prediction_head.cosines(y).ravel())
            correlation = prediction_head.output_correlation(y, params)
            rows.append(f"| {rate:g} | {time:g} | {name} | {cosines} | {y[8]:.3f} | {correlation:.3f} |")
    return rows


def main():
    lines = [
        "# Long runs of the theory",
        "",
        "`python benchmarks/theory.py` writes this file and the pictures beside it.",
        "",
        "## SGD on patches beside the population flow",
        "",
        f"Strengths (3, 2), d = 16, batches of 1024, learning rate 0.02, {HORIZON / 0.02:.0f} steps, seed 0.",
        "",
        "| eta_E/eta | t | | cos(w1,v1) | cos(w1,v2) | cos(w2,v1) | cos(w2,v2) | E21 | corr(f1,f2) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rate in REGIMES:
        print(f"head rate {rate:g}", flush=True)
        lines += training_rows(rate)
    lines += [
        "",
        f"## Of {STARTS} random starts, how many learn both features (d = 64, t up to 1e7, seed 0)",
        "",
        "| strengths | " + " | ".join(f"eta_E/eta = {rate:g}" for rate in HEAD_RATES) + " |",
        "|---|" + "---|" * len(HEAD_RATES),
    ]
    learned = {}
    for strength in STRENGTHS:
        print(f"{STARTS} random starts of strengths {strength}", flush=True)
        learned[strength] = count_learned(strength, HEAD_RATES, STARTS)
        lines.append(f"| {strength} | " + " | ".join(map(str, learned[strength])) + " |")
    portraits.save(portraits.random_start_rates(HEAD_RATES, learned, STARTS), OUT / "theory_starts.png")
    (OUT / "theory.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
