"""One look for every figure: colours for the colour-blind, type that survives half size."""

import functools

import matplotlib
from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any common colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#888888"
CYCLE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))

_RC = {
    "font.size": 14,
    "axes.titlesize": 15,
    "axes.labelsize": 15,
    "legend.fontsize": 13,
    "lines.linewidth": 2.2,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "mathtext.fontset": "cm",
    "savefig.dpi": 110,
}


def styled(draw):
    """Decorator: draws a figure in the common style."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(_RC):
            return draw(*args, **kwargs)

    return wrapper


def panels(rows, columns, width=5.2, height=4.2, **subplots):
    """A figure of panels of `width` x `height` inches each, and its axes, always `(rows, columns)`."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def legend_below(figure, axes, columns):
    """One legend for `axes` (each label once), below every panel, where it covers nothing."""
    entries = {}
    for each in axes:
        handles, labels = each.get_legend_handles_labels()
        entries.update(zip(labels, handles))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)


def save(figure, path):
    """Writes a figure as PNG in the common style."""
    with matplotlib.rc_context(_RC):
        figure.savefig(path)
