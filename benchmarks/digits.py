"""The digits table of README: settings chosen on validation scans with equal effort, then seeds on test scans.

    python benchmarks/digits.py search      every method, the same number of settings; -> benchmarks/digits.md
    python benchmarks/digits.py seeds       configs/*_digits.cfg as shipped, several seeds; -> the same file

Each run is a process of its own and leaves its folder in runs/digits/; a finished one is not run again.
"""

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
RUNS = ROOT / "runs" / "digits"
TABLE = ROOT / "benchmarks" / "digits.md"
# Three rates times two values of the method's own knob, each at two seeds: the same effort for every method. SimSiam's
# loss, as published, is a quarter of the others', so its rates are four times theirs.
GRID = {
    "directpred": {"learning_rate": (0.05, 0.1, 0.2), "target_momentum": (0.95, 0.99)},
    "byol": {"learning_rate": (0.05, 0.1, 0.2), "target_momentum": (0.95, 0.99)},
    "linear": {"learning_rate": (0.05, 0.1, 0.2), "target_momentum": (0.95, 0.99)},
    "simsiam": {"learning_rate": (0.2, 0.4, 0.8), "predictor": ("mlp(hidden=64)", "mlp(hidden=256)")},
}
SEARCHED = {"dataset": "digits(clutter=True, validation=True)", "epochs": 20}
SEARCH_SEEDS = (0, 1)
COLUMNS = ("linear_top1", "knn_top1", "effective_rank")


def finished(method, name, **flags):
    """The metrics of a run; trains it where that has not been done."""
    folder = RUNS / f"{method}_{name}"
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        command = [sys.executable, "-m", "tf_directpred.main", f"--flagfile=configs/{method}_digits.cfg"]
        command += [f"--run_dir={folder}", "--knn_every=0", *(f"--{key}={value}" for key, value in flags.items())]
        command += ["--overwrite"] if folder.exists() else []
        print(f"{folder.name} ...", flush=True)
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    numbers = json.loads(metrics.read_text())
    print(f"{folder.name}: " + ", ".join(f"{key} {numbers[key]:.1f}" for key in COLUMNS), flush=True)
    return numbers


def search(pool):
    """Every setting at every seed on the validation scans; the test scans stay unseen."""
    settings = [
        (method, dict(zip(knobs, values))) for method, knobs in GRID.items() for values in itertools.product(*knobs.values())
    ]

    def run(method, flags, seed):
        name = re.sub(r"[^0-9a-z.]+", "_", "_".join(map(str, flags.values()))).strip("_")
        return pool.submit(finished, method, f"search_{name}_seed{seed}", seed=seed, **SEARCHED, **flags)

    runs = [[run(method, flags, seed) for seed in SEARCH_SEEDS] for method, flags in settings]
    lines = ["| method | setting | linear | k-NN | effective rank |", "|---|---|---|---|---|"]
    for (method, flags), futures in zip(settings, runs):
        numbers = [future.result() for future in futures]
        setting = ", ".join(f"{key}={value}" for key, value in flags.items())
        cells = [" / ".join(f"{n[key]:.1f}" for n in numbers) for key in COLUMNS]
        lines.append(f"| {method} | {setting} | " + " | ".join(cells) + " |")
    write(f"Search on validation scans (seeds {' / '.join(map(str, SEARCH_SEEDS))})", lines)


def seeds(pool, count):
    """The shipped flagfiles on the test scans."""
    lines = ["| method | linear | k-NN | n |", "|---|---|---|---|"]
    started = {method: [pool.submit(finished, method, f"seed{s}", seed=s) for s in range(count)] for method in GRID}
    runs = {method: [future.result() for future in futures] for method, futures in started.items()}

    def row(name, numbers, linear, knn):
        cells = [spread([n[key] for n in numbers]) if key else "-" for key in (linear, knn)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {len(numbers)} |")

    for method, numbers in runs.items():
        row(method, numbers, "linear_top1", "knn_top1")
    numbers = runs["directpred"]
    row("the same encoder, untrained", numbers, "init_linear_top1", "init_knn_top1")
    row("raw RGB pixels", numbers, "pixel_linear_top1", "pixel_knn_top1")
    row("grey pixels, image mean taken off", numbers, None, "grey_knn_top1")
    row("the same encoder, trained with labels", [supervised(0)], "linear_top1", "knn_top1")
    write("Test scans, flagfiles as shipped (mean +- standard deviation over seeds)", lines)


def supervised(seed):
    """The same encoder, views, batches and steps, but trained with the labels of the training scans."""
    metrics = RUNS / f"supervised_seed{seed}" / "metrics.json"
    if not metrics.is_file():
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps(train_with_labels(seed)))
    numbers = json.loads(metrics.read_text())
    print(f"{metrics.parent.name}: linear {numbers['linear_top1']:.1f}, k-NN {numbers['knn_top1']:.1f}", flush=True)
    return numbers


def train_with_labels(seed, epochs=30, batch_size=64):
    """Probes of an encoder trained by cross entropy: what labels are worth at the same cost."""
    import keras
    import tensorflow as tf

    from tf_directpred.data import SOURCES, augment, normalize
    from tf_directpred.networks import ENCODERS
    from tf_directpred.optim import SGD, learning_rate_schedule
    from tf_directpred.probes.features import extract
    from tf_directpred.probes.knn import knn
    from tf_directpred.probes.linear import linear_probe

    keras.utils.set_random_seed(seed)
    source = SOURCES.create("digits(clutter=True)")
    images, labels = source.splits["train"].arrays()
    steps = len(images) // batch_size
    encoder = ENCODERS.create("convnet")
    classifier = keras.Sequential([encoder, keras.layers.Dense(source.num_classes)])
    rate = learning_rate_schedule("cosine", 0.03, epochs * steps, 2 * steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(SGD(rate, weight_decay=4e-4, exclude_1d=True), loss)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed).repeat()
    batches = batches.batch(batch_size, drop_remainder=True).enumerate()
    batches = batches.map(lambda step, batch: (augment(batch[0], "digits", (seed, step)), batch[1]), tf.data.AUTOTUNE)
    classifier.fit(batches, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0)
    features = []
    for split in ("train", "test"):
        features += extract(encoder, ((normalize(x, "digits"), y) for x, y in source.splits[split].batches(256)))
    return {"linear_top1": linear_probe(*features)["top1"], "knn_top1": knn(*features)["top1"]}


def spread(values):
    """Mean and sample standard deviation; the mean alone where nothing varies."""
    mean = statistics.mean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{mean:.1f}" + (f" +- {deviation:.1f}" if deviation else "")


def write(title, lines):
    """Puts a section into the table's file, in place of the one of the same title."""
    text = TABLE.read_text() if TABLE.is_file() else "# Cluttered digits\n\nMade by `benchmarks/digits.py`.\n"
    sections = {part.splitlines()[0]: part for part in text.split("\n## ")[1:]}
    sections[title] = title + "\n\n" + "\n".join(lines) + "\n"
    TABLE.write_text(text.split("\n## ")[0].rstrip("\n") + "\n" + "".join(f"\n## {s.strip()}\n" for s in sections.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "seeds"))
    parser.add_argument("--count", type=int, default=3, help="number of seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    arguments = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        search(pool) if arguments.what == "search" else seeds(pool, arguments.count)
