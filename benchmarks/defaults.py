"""Which way of running the step is the fastest here: plain graph or XLA, oneDNN or not, bfloat16, fused batch norm.

    python benchmarks/defaults.py          -> a section of benchmarks/SPEED.md; about eight minutes on two cores

Each way is a process of its own, since oneDNN and threads are chosen before TensorFlow starts; all take steps in turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import speed

NETWORKS = {"ResNet-18, batch 64": (64, 64, 1), "ResNet-18 of width 16, batch 128": (16, 128, 2)}  # width, batch, steps
DEFAULT = "plain graph, oneDNN on"
WAYS = {  # environment, and what the process does differently
    DEFAULT: ({}, {}),
    "plain graph, oneDNN off": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, {}),
    "XLA": ({}, {"jit": True}),
    "Keras's own batch normalization": ({}, {"synchronized": True}),
    "one operation at a time": ({}, {"inter": 1}),
    "one operation on one core, several at a time": ({}, {"intra": 1}),
    "mixed_bfloat16": ({}, {"policy": "mixed_bfloat16"}),
    "bfloat16 inside oneDNN's convolutions": ({"TF_SET_ONEDNN_FPMATH_MODE": "BF16"}, {}),
    "both views in one pass (batch norm over both: other numbers)": ({}, {"stacked": True}),
}
ROUNDS = 3


def model_step(width, batch, steps, jit=False, synchronized=False, policy=None, stacked=False, inter=0, intra=0):
    """Function that takes `steps` steps of DirectPred on a batch in memory."""
    import keras
    import tensorflow as tf

    from tf_directpred import NonContrastive
    from tf_directpred.networks import ENCODERS, PROJECTORS
    from tf_directpred.optim import SGD

    class Stacked(NonContrastive):
        """What one pass over both views would take, at most as little: their statistics are not kept apart."""

        def _predict_across(self, x1, x2, training):
            x = tf.concat([x1, x2], axis=0)
            (z1, z2), (t1, t2) = (
                tf.split(network(x, training=training), 2) for network in (self._project, self.target)
            )
            losses = [self.loss_fn(self.predictor(z, training=True), tf.stop_gradient(t), z) for z, t in ((z1, t2), (z2, t1))]
            return tf.reduce_mean(tf.add_n(losses)), (z1, z2), (t2, t1)

    tf.config.threading.set_inter_op_parallelism_threads(inter)
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    if policy:
        keras.config.set_dtype_policy(policy)
    encoder = ENCODERS.create(f"resnet18(stem='cifar', width={width})", synchronized=synchronized)
    projector = PROJECTORS.create("mlp(output=128)", input_dim=encoder.output_shape[-1], synchronized=synchronized)
    model = (Stacked if stacked else NonContrastive)(encoder, projector, "directpred")
    model.compile(SGD(0.03), jit_compile=jit)
    model.make_train_function()
    views = {name: tf.random.stateless_normal((batch, 32, 32, 3), (0, i)) for i, name in enumerate(("view1", "view2"))}
    batches = iter(tf.data.Dataset.from_tensors(views).repeat())

    def run():
        for _ in range(steps):
            logs = model.train_function(batches)
        return float(logs["loss"])

    return run


def serve(options):
    """Takes the steps whenever a line comes, and answers with the seconds of one."""
    run = model_step(**options)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print((time.perf_counter() - start) / options["steps"], flush=True)


class Way:
    def __init__(self, environment, options):
        command = [sys.executable, __file__, "--serve", json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self._line()

    def seconds(self):
        print(file=self.process.stdin, flush=True)
        return float(self._line())

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"A way ended with code {self.process.wait()}; its error stands above.")
        return line


def measure(width, batch, steps):
    """Median seconds of a step of every way."""
    usual = {"width": width, "batch": batch, "steps": steps}
    ways = {name: Way(environment, {**usual, **options}) for name, (environment, options) in WAYS.items()}
    times = [{name: way.seconds() for name, way in ways.items()} for _ in range(ROUNDS)]
    for way in ways.values():
        way.process.stdin.close()
        way.process.wait()
    return {name: statistics.median(row[name] for row in times) for name in ways}


def main():
    columns = {}
    for name, size in NETWORKS.items():
        columns[name] = measure(*size)
        print(name, {way: round(value, 3) for way, value in columns[name].items()}, flush=True)
    rows = [
        [way, *(f"{column[way]:.3f} ({column[way] / column[DEFAULT]:.2f})" for column in columns.values())] for way in WAYS
    ]
    best = {name: min(column, key=column.get) for name, column in columns.items()}
    lines = [
        "Seconds of a DirectPred step on a batch in memory (and as a multiple of the first way, which `main.py` takes).",
        "",
        *speed.table(["", *columns], rows),
        "",
        *(f"- {name}: fastest: {way}, {columns[name][way] / columns[name][DEFAULT]:.2f} x the default." for name, way in best.items()),
    ]
    speed.write("Choice of the defaults on a CPU (`defaults.py`)", lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    serve(arguments.serve) if arguments.serve else main()
