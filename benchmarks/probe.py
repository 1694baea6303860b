"""Seconds of the probes: k-NN and linear on 50,000 x 512 features against 10,000, and feature extraction.

    python benchmarks/probe.py [--peers=ENVIRONMENT/bin/python]     -> a section of benchmarks/SPEED.md; about one minute

scikit-learn does the same votes and the same logistic regression; with --peers, lightly's k-NN in the environment of
that interpreter joins in.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import speed

TRAIN, TEST, WIDTH, CLASSES, K = 50_000, 10_000, 512, 10, 200
KNN_BAR = 10.0
LIGHTLY = """
import importlib.util, json, pathlib, sys, time
import numpy as np, torch
lib = torch.library.Library("torchvision", "DEF")  # where torchvision's own operators do not load
for name in ("nms", "qnms"):
    lib.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import lightly
# The file by itself: its package would import pytorch_lightning.
path = pathlib.Path(lightly.__file__).parent / "utils" / "benchmarking" / "knn.py"
spec = importlib.util.spec_from_file_location("knn", path)
knn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(knn)
data = np.load(sys.argv[1])
bank = torch.nn.functional.normalize(torch.from_numpy(data["train_x"]), dim=1).T.contiguous()
queries = torch.nn.functional.normalize(torch.from_numpy(data["test_x"]), dim=1)
labels = torch.from_numpy(data["train_y"])
start = time.perf_counter()
found = [knn.knn_predict(batch, bank, labels, num_classes=10, knn_k=200, knn_t=0.1)[:, 0] for batch in queries.split(256)]
print(json.dumps([time.perf_counter() - start, torch.cat(found).tolist()]))
"""


def features(count, seed):
    """Classes that overlap: float32 (count, WIDTH) and labels."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    # A few strong directions that all classes share, as trained features have them.
    shared = 0.5 * rng.normal(size=(count, 8)) @ np.random.default_rng(1).normal(size=(8, WIDTH))
    return (0.2 * centres[labels] + shared + rng.normal(size=(count, WIDTH))).astype("float32"), labels


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def sklearn_knn(train_x, train_y, test_x):
    """The same votes: on unit vectors, cos = 1 - distance^2 / 2."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    def votes(distances):
        return np.exp(-(distances**2) / 2 / 0.1)

    classifier = KNeighborsClassifier(K, weights=votes, algorithm="brute", n_jobs=-1).fit(normalize(train_x), train_y)
    return np.concatenate([classifier.predict(batch) for batch in np.array_split(normalize(test_x), 20)])


def lightly_knn(interpreter, arrays):
    """Seconds and labels; None where lightly is not installed there."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "features.npz"
        np.savez(file, **arrays)
        done = subprocess.run([interpreter, "-c", LIGHTLY, str(file)], capture_output=True, text=True)
    if done.returncode:
        print(f"lightly: {done.stderr.strip().splitlines()[-1]}")
        return None
    seconds, labels = json.loads(done.stdout.splitlines()[-1])
    return seconds, np.array(labels)


def knn_section(peers):
    from tf_directpred.probes.knn import knn_scores

    (train_x, train_y), (test_x, test_y) = features(TRAIN, 2), features(TEST, 3)
    arrays = {"train_x": train_x, "train_y": train_y, "test_x": test_x}
    knn_scores(train_x[:300], train_y[:300], test_x[:300], CLASSES, K)  # TensorFlow's start is not the probe's
    found = {"ours": timed(lambda: np.argmax(knn_scores(**arrays, classes=CLASSES, k=K), axis=1))}
    found["scikit-learn"] = timed(lambda: sklearn_knn(**arrays))
    if peers and (lightly := lightly_knn(peers, arrays)):
        found["lightly"] = lightly
    ours, reference = found["ours"][1], found["scikit-learn"][1]
    rows = [
        [f"k-NN, {name}", f"{seconds:.1f}", f"{100 * np.mean(labels == test_y):.2f}", f"{np.mean(labels == ours):.2%}"]
        for name, (seconds, labels) in found.items()
    ]
    seconds = found["ours"][0]
    differ = np.count_nonzero(ours != reference)
    ratios = ", ".join(f"{name} {value / seconds:.1f} x as long" for name, (value, _) in found.items() if name != "ours")
    verdict = "met" if seconds < KNN_BAR and differ <= TEST // 1000 else "missed"
    line = f"- k-NN: {ratios}; {differ} of {TEST} labels differ from scikit-learn's. Bar: exact, under {KNN_BAR:.0f} s: {verdict}."
    return rows, line


def linear_section():
    from sklearn.linear_model import LogisticRegression

    from tf_directpred.probes.linear import linear_probe

    train, test = features(TRAIN, 2), features(TEST, 3)
    ours, top1 = timed(lambda: linear_probe(*train, *test)["top1"])
    scale = train[0].mean(axis=0), train[0].std(axis=0)
    x, y = ((part[0] - scale[0]) / scale[1] for part in (train, test))
    theirs, model = timed(lambda: LogisticRegression(C=1e3 / TRAIN, max_iter=100).fit(x, train[1]))
    rows = [
        ["linear probe, ours (50 epochs of Adam)", f"{ours:.1f}", f"{top1:.2f}", ""],
        ["logistic regression, scikit-learn (L-BFGS)", f"{theirs:.1f}", f"{100 * model.score(y, test[1]):.2f}", ""],
    ]
    return rows, f"- linear probe: scikit-learn {theirs / ours:.1f} x as long."


def extraction_section(images=512):
    """Images a second of an encoder, by `extract` and by Keras's `predict`."""
    import tensorflow as tf

    from tf_directpred.networks import ENCODERS
    from tf_directpred.probes.features import extract

    lines = []
    x = tf.random.stateless_normal((images, 32, 32, 3), (0, 1))
    batches = tf.data.Dataset.from_tensor_slices((x, tf.zeros(images))).batch(256).cache()
    for spec in ("resnet18(stem='cifar')", "convnet"):
        encoder = ENCODERS.create(spec, input_shape=(None, None, 3))
        ways = {"ours": lambda: extract(encoder, batches), "predict": lambda: encoder.predict(x, batch_size=256, verbose=0)}
        seconds = speed.medians(ways, rounds=5, seconds=30.0)
        rates = ", ".join(f"{name} {images / value:,.0f}" for name, value in seconds.items())
        lines.append(f"- features of {spec}, 32 x 32, images a second: {rates} (tracing included in ours).")
    return lines


def main(peers):
    knn_rows, knn_line = knn_section(peers)
    linear_rows, linear_line = linear_section()
    lines = [f"{TRAIN:,} x {WIDTH} training features, {TEST:,} test features, k = {K}, {CLASSES} classes.", ""]
    lines += speed.table(["probe", "seconds", "top-1, %", "labels as ours"], knn_rows + linear_rows)
    speed.write("Probes (`probe.py`)", [*lines, "", knn_line, linear_line, *extraction_section()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="interpreter of an environment with the extra `bench`")
    main(parser.parse_args().peers)
