"""The command as a user runs it: exit codes, one line for what is wrong, stop and resume."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parent.parent
TINY = [
    "--dataset=digits(clutter=False)", "--encoder=convnet(widths=(4,), strides=(8,))",
    "--projector=mlp(hidden=(8,), output=6)", "--batch_size=350", "--eval_examples=40", "--probe_epochs=1",
    "--steps=3", "--knn_every=1",
]

# Runs one command line after another, as main would in a process of its own: a process a case would take
# minutes. A case may be stopped by a signal after a step. Notes what each returned, what it left on standard
# output and error, and whether TensorFlow was there by then.
SEVERAL = """
import dataclasses, json, os, signal, sys, tempfile
from absl import flags
from tf_directpred import main
from tf_directpred.config import Config

def captured(number, run):
    sys.stdout.flush(), sys.stderr.flush()
    console = os.dup(number)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), number)
        result = run()
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(console, number)
        held.seek(0)
        return result, held.read().decode()

def code_of_main():
    try:
        main.main()
    except SystemExit as end:
        return end.code

def stop_after(number, step):
    from tf_directpred.callbacks import Throughput

    def stop(self, batch, logs=None, show=Throughput.on_train_batch_end):
        show(self, batch, logs)
        if self.model.optimizer.iterations == step:
            signal.raise_signal(number)

    Throughput.on_train_batch_end = stop

results = []
for arguments, signal_and_step in json.load(sys.stdin):
    sys.argv = ["main", *arguments]
    if signal_and_step:
        stop_after(*signal_and_step)
    (code, errors), output = captured(1, lambda: captured(2, code_of_main))
    started = "tensorflow" in sys.modules
    results.append({"code": code, "errors": errors, "output": output, "tensorflow": started})
    for field in dataclasses.fields(Config):
        delattr(flags.FLAGS, field.name)
    flags.FLAGS.unparse_flags()
with open(os.environ["RESULTS"], "w") as file:
    json.dump(results, file)
"""


def python(*arguments, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}  # what main sets is enough
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300,
        **{"env": environment, **options},
    )


def command(*arguments):
    return python("-m", "tf_directpred.main", *arguments)


def contents(folder):
    """What lies in a folder, by name; None where there is no folder."""
    if not folder.exists():
        return None
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def metrics(folder):
    numbers = json.loads((folder / "metrics.json").read_text())
    return {key: value for key, value in numbers.items() if key != "images_per_second"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: its folder and what the command wrote."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, command(*TINY, f"--run_dir={folder}")


@pytest.fixture(scope="module")
def whole_metrics(run):
    return metrics(run[0])  # before the command evaluates it with other flags


def test_a_run_leaves_what_it_promises_and_no_noise(run):
    folder, done = run
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("top-1 accuracy, %", "trained encoder", "40 train and 40 test images", "exported"):
        assert words in done.stdout
    assert {p.name for p in folder.iterdir()} >= {
        "flags.cfg", "metrics.json", "history.csv", "checkpoints", "encoder", "encoder.keras",
    }
    numbers = metrics(folder)
    assert numbers["steps"] == 3 and np.isfinite(numbers["loss"]) and 0 <= numbers["knn_top1"] <= 100


def image_folder(path, corrupt):
    """Two classes of three images; one file is cut off in its middle."""
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (path / split / label).mkdir(parents=True)
            for i in range(3):
                noise = np.random.default_rng(i).integers(0, 256, (24, 24, 3), "uint8")
                tf.io.write_file(str(path / split / label / f"{i}.jpg"), tf.io.encode_jpeg(noise))
    (path / corrupt).write_bytes((path / corrupt).read_bytes()[:700])
    return path


SMALL = ["--dataset=folder", "--batch_size=6", "--eval_examples=6", "--knn_every=0"]
REFUSED = {
    "mistyped flag": (["--bacth_size=3"], "batch_size"),
    "value of the wrong kind": (["--batch_size=many"], "--batch_size=many"),
    "value out of range": (["--target_momentum=1.5"], "target_momentum must be in [0, 1]. Received: "),
    "missing flagfile": (["--flagfile=nowhere.cfg"], "nowhere.cfg"),
    "positional argument": (["train"], "Flags only, as --name=value. Received: train"),
    "unknown predictor": (["--predictor=directpredd"], "Unknown predictor 'directpredd'. Known: "),
    "unknown encoder": (["--encoder=resnet"], "Unknown encoder 'resnet'. Known: convnet"),
    "unknown argument": (["--predictor=directpred(tau=1)"], "takes no argument tau. Allowed: directpred("),
    "unknown dataset": (["--dataset=cifar"], "Unknown dataset 'cifar'. Known: digits"),
    "unknown evaluation set": (["--eval_dataset=cifar"], "Unknown dataset 'cifar'. Known: digits"),
    "batch larger than the data": (["--batch_size=1401"], "Received: batch_size=1401"),
    "empty image folder": (["--dataset=folder", "--data_dir={empty}"], "{empty} holds no .jpg, .jpeg, .png"),
    "profile not START:STOP": (["--profile=10"], "profile must be START:STOP with 0 <= START < STOP. Received: "),
    "profile after the end": (["--profile=3:9"], "profile must start before the run's 3 steps are over. Received: "),
    "steps_per_execution": (["--steps_per_execution=2"], "steps_per_execution must divide the 4 steps of an epoch and"),
    "no image folder": (["--dataset=folder", "--data_dir={empty}/none"], "{empty}/none does not exist"),
    "a file for a folder": (["--dataset=folder", "--data_dir={file}"], "{file} does not exist or is no"),
}
BEFORE_TENSORFLOW = list(REFUSED)[:5]


@pytest.fixture(scope="module")
def several(run, whole_metrics, tmp_path_factory):
    """All cases in one process: what SEVERAL notes of each, and its run folder before and after them all."""
    here = tmp_path_factory.mktemp("several")
    (here / "empty").mkdir()
    (here / "file").write_text("x")
    (here / "thesis").mkdir()
    (here / "thesis" / "thesis.tex").write_text("years of work")
    (here / "unfinished" / "checkpoints").mkdir(parents=True)
    (here / "unfinished" / "flags.cfg").write_text("--seed=7\n")
    places = {"empty": here / "empty", "file": here / "file"}
    cases = {
        name: (TINY + [argument.format(**places) for argument in arguments], here / "new" / name)
        for name, (arguments, _) in REFUSED.items()
    }
    for split in ("train", "test"):
        images = places[split] = image_folder(here / split, f"{split}/dog/1.jpg")
        cases[f"corrupt {split} image"] = ([*TINY, *SMALL, f"--data_dir={images}"], here / f"corrupt_{split}")
    cases |= {
        "finished": (TINY, run[0]),
        "finished, resume": ([*TINY, "--resume"], run[0]),
        "bad flags, overwrite": ([*TINY, "--overwrite", "--encoder=resnet"], run[0]),
        "other flags, resume": ([*TINY, "--resume"], here / "unfinished"),
        "no run": (TINY, here / "thesis"),
        "no run, overwrite": ([*TINY, "--overwrite"], here / "thesis"),
        "evaluate nothing": (["--mode=evaluate"], here / "empty"),
        "evaluate": (["--mode=evaluate", "--eval_examples=32"], run[0]),
        "linear": (["--mode=linear", "--steps=1", "--eval_examples=32", "--linear_rates=0.2"], run[0]),
        "SIGTERM": (TINY, here / "stopped"),
        "SIGINT": ([*TINY, "--resume"], here / "stopped"),
    }
    stops = {"SIGTERM": (signal.SIGTERM, 1), "SIGINT": (signal.SIGINT, 2)}
    lines = [([*flags, f"--run_dir={folder}"], stops.get(name)) for name, (flags, folder) in cases.items()]
    before = {name: contents(folder) for name, (_, folder) in cases.items()}
    written = here / "results.json"
    done = python("-c", SEVERAL, input=json.dumps(lines), env={**os.environ, "RESULTS": str(written)})
    assert done.returncode == 0, done.stderr
    results = json.loads(written.read_text())
    return {
        name: {**result, "folder": folder, "places": places, "before": before[name], "after": contents(folder)}
        for (name, (_, folder)), result in zip(cases.items(), results, strict=True)
    }


def check_one_line(case, *words):
    assert case["code"] == 2, case["errors"]
    assert case["errors"].startswith("tf_directpred: ") and case["errors"].count("\n") == 1, case["errors"]
    assert all(word in case["errors"] for word in words), case["errors"]


def changes(case):
    """Names of the files in the run folder that came, went or changed."""
    before, after = case["before"], case["after"]
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_one_line_and_leaves_nothing(several, name):
    case = several[name]
    check_one_line(case, REFUSED[name][1].format(**case["places"]))
    assert case["before"] is None and case["after"] is None


@pytest.mark.parametrize("name", BEFORE_TENSORFLOW)
def test_bad_values_fail_before_tensorflow_starts(several, name):
    assert not several[name]["tensorflow"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("finished", ["holds a run, finished", "--overwrite"]),
        ("finished, resume", ["holds a finished run"]),
        ("bad flags, overwrite", ["Unknown encoder 'resnet'"]),
        ("other flags, resume", ["holds a run of other flags", "--seed=7"]),
        ("no run", ["is not empty and holds no run"]),
        ("no run, overwrite", ["is not empty and holds no run"]),
        ("evaluate nothing", ["holds no run", "train one first"]),
    ],
)
def test_a_folder_that_is_not_this_runs_is_left_as_it_was(several, name, words):
    case = several[name]
    check_one_line(case, *words)
    assert changes(case) <= {"metrics.json"}  # which "evaluate" and "linear" add to


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_corrupt_image_is_named(several, split):
    case = several[f"corrupt {split} image"]
    check_one_line(case, f"Cannot read or decode the image {case['places'][split]}/{split}/dog/1.jpg")
    assert "flags.cfg" in case["after"]  # once the file is whole, --resume goes on
    assert "metrics.json" not in case["after"]


def test_evaluation_adds_numbers_and_touches_nothing_else(several):
    case = several["evaluate"]
    assert (case["code"], case["errors"]) == (0, "")
    assert changes(case) == {"metrics.json"}
    numbers = json.loads(case["after"]["metrics.json"])
    assert numbers["eval_test_examples"] == 32 and numbers["steps"] == 3


def test_linear_evaluation_reads_the_runs_own_flags(several):
    case = several["linear"]
    assert (case["code"], case["errors"]) == (0, "")
    assert changes(case) == {"metrics.json"}
    assert 0 <= json.loads(case["after"]["metrics.json"])["linear_crops_0.2_top1"] <= 100


def test_stopped_by_signals_and_resumed_ends_where_the_uninterrupted_run_does(run, whole_metrics, several):
    for step, name in enumerate(("SIGTERM", "SIGINT"), start=1):
        case = several[name]
        assert case["code"] == 128 + signal.Signals[name] and case["errors"] == ""
        assert f"interrupted at step {step}; the same command with --resume continues" in case["output"]
        assert "metrics.json" not in case["after"]
    folder = several["SIGINT"]["folder"]
    resumed = command(*TINY, f"--run_dir={folder}", "--resume")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert "resuming at step 2 of 3" in resumed.stdout
    assert metrics(folder) == whole_metrics
