"""Seconds of one predictor update against d: eigendecomposition, matrix products, and what is trained by gradients.

    python benchmarks/predictor.py          -> a section of benchmarks/SPEED.md; about four minutes on two cores

Each row is a process of its own, which is stopped: nothing in Python ends an eigendecomposition under way in XLA.
"""

import argparse
import json
import subprocess
import sys
import time

import speed

SIDES = (128, 256, 512, 1024, 2048, 4096)
CLOSED = {
    "eigh": "directpred",
    "Newton-Schulz": "directpred(solver='newton_schulz')",
    "DirectCopy": "directcopy",
}
TRAINED = {"linear, trained": "linear", "two layers, trained": "mlp(hidden=512)"}
LIMIT = 40.0  # seconds of a row, the start of its process included
BATCH = 128
BAR = 20.0


def update(spec, d):
    """Function of two batches of projections: what a step spends on the predictor beside the network."""
    import tensorflow as tf

    from tf_directpred.losses import LOSSES
    from tf_directpred.optim import SGD
    from tf_directpred.predictors import PREDICTORS

    predictor, loss = PREDICTORS.create(spec), LOSSES.create("cosine")
    predictor.build((None, d))
    optimizer = SGD(0.03)
    optimizer.build(predictor.trainable_variables)

    def closed_form(z1, z2):
        predictor.update(online=(z1, z2), target=(z2, z1))

    def by_gradients(z1, z2):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(predictor(z1, training=True), z2, z1) + loss(predictor(z2, training=True), z1, z2))
        weights = predictor.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))

    return by_gradients if predictor.trainable_variables else closed_form


def row(spec, jit):
    """Prints d, milliseconds of a call (median, after one that compiles) and seconds since the start, for each d."""
    import tensorflow as tf

    start = time.perf_counter()
    for d in SIDES:
        step = tf.function(update(spec, d), jit_compile=jit)
        views = [tf.random.stateless_normal((BATCH, d), (0, view)) for view in (1, 2)]
        seconds = speed.medians({"step": lambda: step(*views)}, rounds=15, seconds=3.0)["step"]
        print(json.dumps([d, 1000 * seconds, time.perf_counter() - start]), flush=True)


def measured(spec, jit):
    """Dict of d -> milliseconds, and the limit in seconds that the next d ran into."""
    command = [sys.executable, __file__, "--row", json.dumps([spec, jit])]
    try:
        output = subprocess.run(command, stdout=subprocess.PIPE, timeout=LIMIT, check=True).stdout
    except subprocess.TimeoutExpired as stopped:
        output = stopped.stdout or b""
    cells = [json.loads(line) for line in output.decode().splitlines()]
    return {d: milliseconds for d, milliseconds, _ in cells}, LIMIT - max((end for *_, end in cells), default=0.0)


def main():
    rows, times = [], {}
    for name, spec in {**CLOSED, **TRAINED}.items():
        for jit in (False, True):
            found, left = times[name, jit] = measured(spec, jit)
            cells = [f"{found[d]:,.2f}" if d in found else f">{left:.0f} s" for d in SIDES]
            rows.append([name, "XLA" if jit else "graph", *cells])
            print(*rows[-1], flush=True)
    lines = [f"One update from two views of {BATCH} projections, milliseconds; \"> n s\": stopped after n seconds.", ""]
    lines += speed.table(["predictor", "", *(f"d = {d}" for d in SIDES)], rows)
    lines += ["", ratios(times["eigh", True], times["Newton-Schulz", True])]
    speed.write("Predictor updates (`predictor.py`)", lines)


def ratios(exact, products):
    """Newton-Schulz against XLA's eigendecomposition; a bound at the first d where that was stopped."""
    (exact, left), (products, _) = exact, products
    found, words = [], []
    for d in SIDES[1:]:
        if d in products:
            found.append(exact.get(d, 1000 * left) / products[d])
            words.append(f"{'' if d in exact else '> '}{found[-1]:.0f} x at d = {d}")
        if d not in exact:
            break
    verdict = "met" if found and min(found) >= BAR else "missed"
    return f"Newton-Schulz against eigh, both in XLA: {', '.join(words)}. Bar: {BAR:.0f} x from d = 256 up: {verdict}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    row(*arguments.row) if arguments.row else main()
