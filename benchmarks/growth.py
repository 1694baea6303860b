"""How time and peak memory grow: with the batch, the network, d, replicas and the data; and what the start is made of.

    python benchmarks/growth.py          -> a section of benchmarks/SPEED.md and growth.png; about six minutes

Every point is a process of its own, whose peak memory is its own.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

import speed

PLOT = pathlib.Path(__file__).parent / "growth.png"
USUAL = {"batch": 64, "width": 16, "d": 128, "replicas": 1}
STEPS = {
    "batch": (32, 64, 128, 256), "width": (8, 16, 32, 64), "d": (128, 256, 512, 1024), "replicas": (1, 2, 4),
}
FOLDERS = (1_000, 10_000, 100_000)
GROWTH_BAR, FOLDER_BAR, START_BAR = 1.2, 2.0, 20.0


def step_point(batch, width, d, replicas):
    """Seconds of a step of ResNet-18 with `width` channels, views of 32 x 32 in memory."""
    import keras
    import tensorflow as tf

    from tf_directpred import NonContrastive, distribution
    from tf_directpred.networks import ENCODERS, PROJECTORS
    from tf_directpred.optim import SGD

    strategy = distribution.connect("mirrored" if replicas > 1 else "default", replicas if replicas > 1 else None)
    views = {name: tf.random.stateless_normal((batch, 32, 32, 3), (0, i)) for i, name in enumerate(("view1", "view2"))}
    with strategy.scope():
        encoder = ENCODERS.create(f"resnet18(stem='cifar', width={width})", synchronized=replicas > 1)
        projector = PROJECTORS.create(f"mlp(output={d})", input_dim=encoder.output_shape[-1], synchronized=replicas > 1)
        model = NonContrastive(encoder, projector, "directpred")
        model.compile(SGD(0.03))
    ends = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    batches = tf.data.Dataset.from_tensors(views).repeat()
    model.fit(batches, steps_per_epoch=7, verbose=0, shuffle=False, callbacks=[clock])
    return {"seconds": statistics.median(b - a for a, b in zip(ends[1:], ends[2:]))}


def folder_point(folder):
    """Seconds until the first batch is decoded, until its views are made too, and an image after that."""
    import tensorflow as tf

    from tf_directpred.data import SOURCES, image_batches, view_batches

    tf.constant(0)  # TensorFlow's start is not the folder's
    start = time.perf_counter()
    source = SOURCES.create("folder", data_dir=folder)
    next(iter(image_batches(source, "simclr_cifar", 128, seed=0)))
    decoded = time.perf_counter() - start
    batches = iter(view_batches(source, "simclr_cifar", 128, seed=0))
    next(batches)
    first = time.perf_counter() - start
    for _ in range(20):  # what was prefetched
        next(batches)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(10):
            next(batches)
        times.append(time.perf_counter() - begin)
    return {"decoded": decoded, "start": first, "seconds": statistics.median(times) / 10 / 128}


def start_point(began):
    """Seconds, and seconds of CPU, of what lies between the command and the end of the first step of the demo."""
    marks = [("", began, 0.0), ("Python", time.time(), time.process_time())]

    def mark(name):
        marks.append((name, time.time(), time.process_time()))

    import tensorflow  # noqa: F401

    mark("import of TensorFlow and Keras")
    import step
    from tf_directpred.train import Experiment

    mark("import of the library")
    experiment = Experiment(step.configuration("directpred_digits.cfg", {}))
    mark("data")
    model = experiment.model()
    mark("model")
    from tf_directpred.data import view_batches

    batches = iter(view_batches(experiment.source, experiment.recipe, experiment.config.batch_size, 0))
    next(batches)
    mark("first batch: tracing and compiling the augmentation")
    model.make_train_function()
    model.train_function(batches)
    mark("first step: tracing")
    return {name: (wall - last_wall, cpu - last_cpu) for (_, last_wall, last_cpu), (name, wall, cpu) in pairwise(marks)}


POINTS = {"step": step_point, "folder": folder_point, "start": start_point}


def point(kind, **arguments):
    """What a process of its own finds, with its peak memory in MB."""
    command = [sys.executable, __file__, "--point", json.dumps([kind, arguments])]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    print(kind, arguments, found, flush=True)
    return found


def image_folders(root):
    """Folders of 1,000 to 100,000 JPEG files, which are links to fifty of them."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    files = []
    for i in range(50):
        files.append(root / f"{i}.jpg")
        image = tf.image.resize(rng.integers(0, 256, (8, 8, 3)), (32, 32))
        files[-1].write_bytes(tf.io.encode_jpeg(tf.cast(image, tf.uint8)).numpy())
    for count in FOLDERS:
        for label in range(10):
            folder = root / str(count) / "train" / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count // 10):
                os.link(files[i % 50], folder / f"{i}.jpg")
        yield count, root / str(count)


def main():
    usual = point("step", **USUAL)
    steps = {
        name: {v: usual if v == USUAL[name] else point("step", **{**USUAL, name: v}) for v in values}
        for name, values in STEPS.items()
    }
    with tempfile.TemporaryDirectory() as root:
        paths = dict(image_folders(pathlib.Path(root)))
        turns = [{n: point("folder", folder=str(path)) for n, path in paths.items()} for _ in range(3)]
    folders = {n: {k: statistics.median(turn[n][k] for turn in turns) for k in turns[0][n]} for n in FOLDERS}
    start = point("start", began=time.time())
    plot(steps, folders)
    lines = [
        f"ResNet-18 at 32 x 32; where not said otherwise: {', '.join(f'{k} {v}' for k, v in USUAL.items())}.",
        "Peak memory is that of the whole process, Python and TensorFlow included. Replicas are logical devices that share the cores.",
        "",
    ]
    rows = [
        [name, value, f"{1000 * found['seconds']:,.0f}", f"{found['peak']:,.0f}"]
        for name, points in steps.items()
        for value, found in points.items()
    ]
    lines += speed.table(["of", "value", "ms a step", "peak, MB"], rows)
    rows = [
        [f"{n:,}", f"{found['decoded']:.1f}", f"{found['start']:.1f}", f"{1e6 * found['seconds']:.0f}", f"{found['peak']:,.0f}"]
        for n, found in folders.items()
    ]
    header = ["images in a folder", "first batch decoded after, s", "and its views after, s", "microseconds an image", "peak, MB"]
    lines += ["", *speed.table(header, rows)]
    start.pop("peak")
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in start.items()]
    lines += ["", *speed.table(["from command to first step of the demo", "s", "s of CPU"], rows)]
    small, large = (folders[n]["seconds"] for n in (FOLDERS[0], FOLDERS[-1]))
    decoded = folders[FOLDERS[-1]]["decoded"]
    total, cpu = map(sum, zip(*start.values()))
    lines += [
        "",
        f"- an image of {FOLDERS[-1]:,} costs {large / small:.2f} x one of {FOLDERS[0]:,}. "
        f"Bar: it does not grow ({GROWTH_BAR} x): {'met' if large <= GROWTH_BAR * small else 'missed'}.",
        f"- a folder of {FOLDERS[-1]:,} images is listed and its first batch decoded after {decoded:.1f} s. "
        f"Bar: {FOLDER_BAR:.0f} s: {'met' if decoded < FOLDER_BAR else 'missed'}.",
        f"- first step of the demo after {total:.1f} s ({cpu:.1f} s of CPU). "
        f"Bar: {START_BAR:.0f} s: {'met' if total < START_BAR else 'missed'}.",
        "",
        f"![growth]({PLOT.name})",
    ]
    speed.write("Growth (`growth.py`)", lines)


def plot(steps, folders):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {**steps, "images in a folder": folders}
    figure, axes = plt.subplots(2, len(panels), figsize=(3 * len(panels), 5.5), sharex="col")
    for (top, bottom), (name, points) in zip(axes.T, panels.items()):
        folder = points is folders
        values = list(points)
        top.semilogx(values, [1000 * p["seconds"] for p in points.values()], "o-")
        top.set_title("ms an image" if folder else "ms a step", fontsize=10)
        bottom.semilogx(values, [p["peak"] for p in points.values()], "o-", color="tab:orange")
        bottom.set_title("peak memory, MB", fontsize=10)
        bottom.set_xlabel(name)
        bottom.set_xticks(values, [f"{v:,}" for v in values])
        bottom.minorticks_off()
        for axis in (top, bottom):
            axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
            axis.margins(x=0.12)
            axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        kind, options = arguments.point
        found = POINTS[kind](**options)
        print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    else:
        main()
