"""What the speed benchmarks share: medians of interleaved timings, and the page benchmarks/SPEED.md."""

import importlib.metadata
import logging
import os
import pathlib
import platform
import statistics
import subprocess
import time

# Before the first import of TensorFlow, as the command line does.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it would warn of many functions, each traced once

PAGE = pathlib.Path(__file__).parent / "SPEED.md"
HEADER = """# Speed

Made by `make bench`, a section by each script of `benchmarks/`; each says on what it was measured. Alternatives are
timed in turns, A B A B, in one process; numbers are medians.
"""
PACKAGES = ("tensorflow", "keras", "numpy")


def medians(ways, rounds=5, seconds=60.0):
    """Median seconds of each way, timed in turns after a call each that traces and compiles.

    Args:
        ways: dict of name -> function without arguments that returns when its work is done.
        rounds: turns.
        seconds: no further turn is begun after so long.
    """
    for way in ways.values():
        way()
    times = {name: [] for name in ways}
    start = time.perf_counter()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - begin)
        if time.perf_counter() - start > seconds:
            break
    return {name: statistics.median(values) for name, values in times.items()}


def table(header, rows):
    """Lines of a Markdown table: names of the columns, and rows of cells."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines]


def write(title, lines, page=PAGE):
    """Prints a section and puts it into the page, in place of the one of the same title.

    Args:
        title: of the section.
        lines: its Markdown text.
        page: the file.
    """
    lines = [*lines, "", f"Measured on {machine()}."]
    print(f"\n## {title}\n\n" + "\n".join(lines), flush=True)
    text = page.read_text() if page.is_file() else HEADER
    head, *parts = text.split("\n## ")
    sections = {part.splitlines()[0]: part for part in parts}
    sections[title] = f"{title}\n\n" + "\n".join(lines)
    page.write_text(head.strip() + "\n" + "".join(f"\n## {part.strip()}\n" for part in sections.values()))


def machine():
    """Processor, system, versions and commit, in words."""
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    onednn = "on" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else "as TensorFlow has it"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{_processor()}, {cores} cores, {system}, {versions}, oneDNN {onednn}, commit {_commit()}"


def _processor():
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else []
    return names[0] if names else platform.processor() or "CPU"


def _commit():
    root = PAGE.parent.parent
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "tf_directpred"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + (" with changes" if changed.strip() else "")
