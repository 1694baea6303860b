"""From measured and cited inputs to a plan: 300 epochs of BYOL or DirectPred on 8 GPUs, 32 GPUs and a TPU v4-32.

    python benchmarks/scaling.py           # measures here, writes benchmarks/scaling.json and benchmarks/scaling.md
    python benchmarks/scaling.py --measure solvers    # one section anew, the others as scaling.json has them
    python benchmarks/scaling.py --measure            # nothing anew: the plan from the scaling.json that is there

Nothing of the plan was run: each of its numbers is a formula below.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

HERE = pathlib.Path(__file__).parent
IMAGES, EPOCHS, BATCH, D = 1_281_167, 300, 4096, 256

# Cited. Peak of dense bfloat16 products (TFLOP/s), memory (GB), all-reduce link per device (GB/s, one direction):
#   A100 SXM 80 GB: NVIDIA A100 datasheet (312, 80; NVLink 600 GB/s in both directions together).
#   200 Gbit/s InfiniBand HDR a GPU between machines (DGX A100: eight such adapters for eight GPUs).
#   TPU v4 chip: Jouppi et al. 2023, table 4 (275, 32; six links of 50 GB/s each way). v4-32 is 16 chips.
MACHINES = {
    "8 x A100, one machine, NVLink": {"devices": 8, "tflops": 312, "memory": 80, "link": 300},
    "32 x A100, four machines, 200 Gbit/s a GPU": {"devices": 32, "tflops": 312, "memory": 80, "link": 25},
    "TPU v4-32, 16 chips": {"devices": 16, "tflops": 275, "memory": 32, "link": 150},
}
UTILISATION = 0.30  # assumed share of the peak that ResNet-50 reaches in bfloat16; every step time scales with it
FLOPS_FORWARD = 2 * 4.09e9  # of ResNet-50 at 224 px: 4.09 G multiply-adds (torchvision's model table), two each


def median_seconds(function, repeats=7, warm=True):
    if warm:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(sections):
    """Everything of the named sections that can be measured on this machine."""
    import tensorflow as tf

    from tf_directpred import distribution

    strategy = distribution.connect("mirrored", devices=2)  # before TensorFlow's first operation
    machine = platform.processor() or platform.machine()
    yield "machine", f"{machine}, {os.cpu_count()} cores, TensorFlow {tf.__version__}"
    ways = {
        "network": measure_network,
        "anatomy": lambda: measure_anatomy(strategy),
        "solvers": lambda: measure_solvers((128, 256, 2048)),
    }
    for section in sections:
        yield section, ways[section]()


def measure_network():
    """Counts of ResNet-50 with BYOL's projector and predictor: exact, whatever the machine."""
    import keras

    from tf_directpred.networks import ENCODERS, PROJECTORS

    encoder = ENCODERS.create("resnet50(padding='same')", input_shape=(224, 224, 3))
    projector = PROJECTORS.create("mlp(hidden=(4096,), output=256, norm='affine', output_bias=False)", input_dim=2048)
    trained = sum(math.prod(v.shape) for m in (encoder, projector) for v in m.trainable_variables)
    kept = (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.MaxPooling2D)
    activations = sum(math.prod(layer.output.shape[1:]) for layer in encoder.layers if isinstance(layer, kept))
    return {
        "parameters": trained,
        "predictor_mlp": 256 * 4096 + 4096 + 2 * 4096 + 4096 * 256,
        "activations_per_view": activations,
    }


def measure_solvers(sizes):
    """Seconds of one kernel from one F, on one core's worth of TensorFlow threads or more: outside and inside XLA."""
    import numpy as np
    import tensorflow as tf

    from tf_directpred.predictors import PREDICTORS

    found = {}
    for d in sizes:
        z = np.random.default_rng(0).normal(size=(2 * d, d)).astype("float32")
        correlation = tf.constant(z.T @ z / len(z))
        for solver in ("eigh", "newton_schulz"):
            layer = PREDICTORS.create(f"directpred(solver='{solver}')")
            for compiled in (False, True):
                solve = tf.function(layer.solve, jit_compile=compiled)
                large = {"repeats": 1, "warm": False} if d > 256 else {}  # XLA's eigh takes many minutes there
                found[f"{solver}/{'XLA' if compiled else 'graph'}/{d}"] = median_seconds(
                    lambda: solve(correlation).numpy(), **large
                )
    return found


def measure_anatomy(strategy):
    """Seconds of the parts of a step: ResNet-18 for small images, width 16, batch 64; one part after the other."""
    import keras
    import tensorflow as tf

    from tf_directpred.data import SOURCES, view_batches
    from tf_directpred.model import NonContrastive
    from tf_directpred.networks import ENCODERS, PROJECTORS
    from tf_directpred.optim import LARS, SGD

    def model_with(optimizer=None, policy="float32", accumulate=1, predictor="directpred", synchronized=False):
        keras.config.set_dtype_policy(policy)
        encoder = ENCODERS.create("resnet18(width=16)", input_shape=(32, 32, 3), synchronized=synchronized)
        projector = PROJECTORS.create("mlp(hidden=(512,), output=128)", input_dim=128, synchronized=synchronized)
        model = NonContrastive(encoder, projector, predictor, accumulate=accumulate)
        model.compile(optimizer or SGD(0.03))
        keras.config.set_dtype_policy("float32")
        return model

    source = SOURCES.create("digits(clutter=False)")
    batches = iter(view_batches(source, "simclr_cifar", 64, seed=0))
    batch = next(batches)
    seconds = {"input": median_seconds(lambda: next(batches), 30)}
    model = model_with()
    x1, x2 = batch["view1"], batch["view2"]
    weights = model.trainable_variables

    @tf.function
    def forward():
        return model._predict_across(x1, x2, training=True)

    @tf.function
    def backward():
        with tf.GradientTape() as tape:
            loss, online, target = model._predict_across(x1, x2, training=True)
        return tape.gradient(loss, weights), online, target

    gradients, online, target = backward()
    update = tf.function(lambda: model.predictor.update(online, target))
    apply = tf.function(lambda: model.optimizer.apply_gradients(zip(gradients, weights)))

    @tf.function
    def average():
        for t, o in model._averaged:
            t.assign(0.996 * t + 0.004 * o)

    seconds |= {
        "forward (4 passes)": median_seconds(forward),
        "forward and backward": median_seconds(backward),
        "predictor update (d = 128, eigh)": median_seconds(update),
        "optimizer": median_seconds(apply),
        "target average": median_seconds(average),
    }
    with strategy.scope():
        on_two = {f"on 2 devices, {kind} batch norm": model_with(synchronized=kind == "synchronized")
                  for kind in ("synchronized", "local")}

    def half_of_the_batch():
        start = 32 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return {name: tf.slice(x, (start, 0, 0, 0), (32, *x.shape[1:])) for name, x in batch.items()}

    @tf.function
    def reduce_correlation():
        return strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("MEAN", tf.ones((128, 128))))

    seconds["all-reduce of F over 2 devices (d = 128)"] = median_seconds(reduce_correlation)
    steps = {
        "SGD": model, "LARS": model_with(LARS(0.3)), "bfloat16": model_with(policy="mixed_bfloat16"),
        "accumulate=4": model_with(accumulate=4), "identity predictor": model_with(predictor="identity"),
    }
    functions = {name: tf.function(lambda m=m: m.train_step(batch)["loss"]) for name, m in steps.items()}
    functions |= {
        name: tf.function(lambda m=m: strategy.run(lambda: m.train_step(half_of_the_batch())["loss"]))
        for name, m in on_two.items()
    }
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(7):  # side by side: what else the machine does hits all alike
        for name, function in functions.items():
            start = time.perf_counter()
            strategy.experimental_local_results(function())[0].numpy()
            times[name].append(time.perf_counter() - start)
    return {"parts": seconds, "steps": {name: statistics.median(values) for name, values in times.items()}}


def plan(name, network):
    """The numbers of one machine, each by its formula."""
    m = MACHINES[name]
    per_device = BATCH // m["devices"]
    # Two views: online forward and backward (3 forwards' worth), target forward (1).
    flops = 2 * 4 * FLOPS_FORWARD * BATCH
    compute = flops / (m["devices"] * m["tflops"] * 1e12 * UTILISATION)
    gradient_bytes = 4 * network["parameters"]
    correlation_bytes = 4 * D * D
    # A ring all-reduce sends 2 (n - 1) / n of the data over each device's link.
    ring = 2 * (m["devices"] - 1) / m["devices"] / (m["link"] * 1e9)
    steps = EPOCHS * (IMAGES // BATCH)
    weights = 4 * network["parameters"]
    activations = 2 * 2 * network["activations_per_view"] * per_device  # bfloat16, both online views kept
    newton_schulz = (12 + 20 * 3) * 2 * D**3 * 6  # squarings, iterations; six bfloat16 products for a float32 one
    return {
        "images a device": per_device,
        "step, compute (s)": compute,
        "images/s from the input": BATCH / compute,
        "hours for 300 epochs": steps * compute / 3600,
        "activations (GB)": activations / 1e9,
        "weights, momentum, target, gradients (GB)": 4 * weights / 1e9,
        "accumulate, for half the memory": 2 ** max(0, math.ceil(math.log2(2 * activations / (m["memory"] * 1e9)))),
        "gradients all-reduced a step (MB)": gradient_bytes / 1e6,
        "F all-reduced a step (MB)": correlation_bytes / 1e6,
        "all-reduce, share of the step (%)": 100 * ring * (gradient_bytes + correlation_bytes) / compute,
        "F, share of the all-reduce (%)": 100 * correlation_bytes / (gradient_bytes + correlation_bytes),
        "predictor update by products, share (%)": 100 * newton_schulz / (m["tflops"] * 1e12 * UTILISATION) / compute,
    }


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report(measured):
    anatomy, network = measured["anatomy"], measured["network"]
    parts = table(("part of a step", "ms"), [(k, shown(1e3 * v)) for k, v in anatomy["parts"].items()])
    base = anatomy["steps"]["SGD"]
    ratios = table(
        ("whole step, side by side", "ms", "ratio to SGD"),
        [(k, shown(1e3 * v), f"{v / base:.2f}") for k, v in anatomy["steps"].items()],
    )
    sizes = sorted({int(key.split("/")[2]) for key in measured["solvers"]})
    ways = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in measured["solvers"]))
    solvers = table(
        ("solver, ms", *(f"d = {d}" for d in sizes)),
        [(way, *(shown(1e3 * measured["solvers"][f"{way}/{d}"]) if f"{way}/{d}" in measured["solvers"] else "-"
                 for d in sizes)) for way in ways],
    )
    plans = {name: plan(name, network) for name in MACHINES}
    planned = table(
        ("BYOL's networks, batch 4096, 300 epochs", *plans),
        [(key, *(shown(p[key]) for p in plans.values())) for key in next(iter(plans.values()))],
    )
    return f"""# From two cores to pods

Measured on {measured["machine"]}; written by `python benchmarks/scaling.py`, where every formula and citation is.
Times are medians, and ratios are of runs that took turns.

## Anatomy of a step (measured)

DirectPred, ResNet-18 of width 16, 32 px, batch 64.

{parts}

{ratios}

Network counts (exact): ResNet-50 with BYOL's projector has {network["parameters"] / 1e6:.1f} M trained parameters
(the two-layer predictor adds {network["predictor_mlp"] / 1e6:.1f} M, a closed-form one none), and
{network["activations_per_view"] / 1e6:.1f} M activations an image and view at 224 px that backward reads.

## Solvers (measured)

{solvers}

XLA's own eigendecomposition is why a TPU wants `solver='newton_schulz'`. At d = 2048 each
number is one call.

## Plans (calculated; nothing here was run)

Assumes that ResNet-50 reaches {100 * UTILISATION:.0f} % of the bfloat16 peak, that no communication hides behind
compute (so the shares are upper bounds), and activations kept in bfloat16.

{planned}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    sections = ("network", "anatomy", "solvers")
    parser.add_argument("--measure", nargs="*", choices=sections, default=sections, help="what to measure anew")
    store = HERE / "scaling.json"
    found = json.loads(store.read_text()) if store.is_file() else {}
    if chosen := parser.parse_args().measure:
        for section, values in measure(chosen):
            found[section] = values
            print(f"measured: {section}", flush=True)
        store.write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "scaling.md").write_text(report(found))
    print(f"wrote {HERE / 'scaling.md'}")


if __name__ == "__main__":
    main()
