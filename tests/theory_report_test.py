"""The page, the table of equations, and the room's independence of TensorFlow."""

import html.parser
import importlib
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tf_directpred.theory import portraits, report
from tf_directpred.theory.parameters import IsotropicModel, PatchModel
from tf_directpred.theory.report_text import CHAPTERS

ROOT = pathlib.Path(__file__).parent.parent


def equation_table():
    text = (ROOT / "README.md").read_text().split("| equation | what | function |")[1].split("\n\n")[0]
    return re.findall(r"^\| .* \| `([\w.]+)` \|$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", equation_table())
def test_every_equation_has_its_function(name):
    module, function = name.rsplit(".", 1)
    found = getattr(importlib.import_module(f"tf_directpred.theory.{module}"), function)
    assert callable(found) and found.__doc__


def test_table_names_every_field():
    dynamics = importlib.import_module("tf_directpred.theory.dynamics")
    fields = {f"dynamics.{name}" for name in dir(dynamics) if name.endswith("_flow")}
    assert len(equation_table()) > 50 and fields <= set(equation_table())


def test_the_room_loads_no_tensorflow():
    code = (
        "import importlib, pkgutil, sys\n"
        "import tf_directpred.theory as room\n"
        "for module in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "assert 'tf_directpred.theory.portraits.phase_plane' in sys.modules\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arithmetic_needs_no_matplotlib():
    code = (
        "import sys, tf_directpred.theory.prediction_head, tf_directpred.theory.integrate\n"
        "print('matplotlib' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Tags(html.parser.HTMLParser):
    """Keeps what the page loads, and which tags stay open."""

    def __init__(self):
        super().__init__()
        self.loads, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.loads += [value for key, value in attributes if key in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def training():
    times, rates = np.linspace(0, 10, 21), np.array([0.04, 0.02, 0.01])
    decay = np.exp(-times[:, None] * [0.5, 1.0])
    return {
        "learning_rates": rates,
        "flow_times": times,
        "flow_errors": rates[:, None] * times,
        "mode_times": times,
        "modes_trained": decay,
        "modes_flow": decay,
        "collapse_times": times,
        "collapse_trained": decay,
        "collapse_flow": decay,
    }


def test_report_draws_and_explains_every_figure(tmp_path, monkeypatch):
    # Coarse pictures, and the two slow ones drawn from less: a short training, two starts.
    monkeypatch.setitem(portraits.style._RC, "savefig.dpi", 30)
    monkeypatch.setattr(report, "_head_training", lambda progress: _short_training())
    draw = report._random_starts
    monkeypatch.setattr(report, "HEAD_RATES", (0.0, 0.1))
    monkeypatch.setattr(report, "_random_starts", lambda progress: draw(progress, starts=2))
    lines = []
    path = report.write_report(tmp_path / "run", progress=lines.append, training=training())
    page = pathlib.Path(path).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    names = [figure.name for _, figures in CHAPTERS for figure in figures]
    images = {f"{name}.png" for name in names}
    assert set(tags.loads) == images == {file.name for file in (tmp_path / "run").glob("*.png")}
    assert "http" not in page and len(names) == 18
    for image in images:
        assert (tmp_path / "run" / image).read_bytes()[:4] == b"\x89PNG"
    assert sum(line.startswith("[") for line in lines) == len(names)


def _short_training():
    params = PatchModel(head_rate=0.2)
    start = report.prediction_head.demonstration_start()
    return portraits.head_training(*report.patch_sgd.train(start, 1.0, params, reports=5), params)


def test_page_without_training_leaves_its_chapter_out():
    page = report._page({"collapse", "bifurcation"})
    assert "collapse.png" in page and "training_lemma1" not in page and "Theory against training" not in page


def test_every_figure_is_explained_in_two_sentences():
    for _, figures in CHAPTERS:
        for figure in figures:
            text = re.sub(r"<[^>]+>|&\w+;", "", figure.text)
            assert len(re.findall(r"\.(?=\s|$)", text)) == 2, figure.name


def test_incomplete_training_is_named(tmp_path):
    incomplete = training()
    del incomplete["modes_flow"]
    with pytest.raises(ValueError, match="training must hold modes_flow too"):
        report.write_report(tmp_path, training=incomplete)


def test_phase_portrait_shows_fixed_points_by_type():
    figure = portraits.phase_portraits([IsotropicModel(sigma2=0.25, eta=eta) for eta in (0.0, 0.1, 0.3)])
    shown = [set(axis.get_legend_handles_labels()[1]) for axis in figure.axes]
    assert {"stable fixed points", "unstable fixed points"} <= shown[0]
    assert {"saddle", "stable node", "separatrix", "basin of collapse"} <= shown[1]
    assert "stable node" in shown[2] and "saddle" not in shown[2]
