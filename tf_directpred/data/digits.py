"""Scanned handwritten digits on cluttered colour canvases: the dataset that needs no download."""

import functools

import numpy as np

from tf_directpred.data.source import SOURCES, ArraySplit, Source

_SIDE = 32  # pixels of the canvas
_TRAIN_SCANS, _VALIDATION_SCANS = 1400, 300
_SEED = 20210  # of the scans' partition and of every rendering: the images are always the same


@SOURCES.register("digits")
def digits(clutter=True, renderings=5, validation=False):
    """scikit-learn's 1,797 scanned handwritten digits as 32x32 RGB images.

    With clutter, each scan is drawn 16 to 20 pixels wide at a random place, slant (to 0.2), turn (to 10
    degrees) and colour, lighter than a two-coloured background of clouds or stripes, with noise. 1,400
    scans are for training, each rendered several times; the other 397, rendered once, are for testing.

    Args:
        clutter: False gives the bare scans, enlarged to 32x32, white on black.
        renderings: how many pictures are made of each training scan.
        validation: True hides the test scans; 300 of the training scans, which are then not trained on,
            take their place. For choosing settings.
    """
    if renderings < 1 or not isinstance(renderings, int):
        raise ValueError(f"renderings must be a positive integer. Received: renderings={renderings}")
    order = np.random.default_rng(_SEED).permutation(1797)
    train, test = order[:_TRAIN_SCANS], order[_TRAIN_SCANS:]
    if validation:
        train, test = train[:-_VALIDATION_SCANS], train[-_VALIDATION_SCANS:]
    draw = _rendered if clutter else _plain
    return Source(
        name="digits",
        image_shape=(_SIDE, _SIDE, 3),
        num_classes=10,
        class_names=tuple("0123456789"),
        splits={
            "train": ArraySplit(functools.partial(draw, train, renderings if clutter else 1)),
            "test": ArraySplit(functools.partial(draw, test, 1)),
        },
        pretrain_split="train",
        train_split="train",
        test_split="test",
        recipe="digits",
    )


@functools.cache
def _scans():
    """Smoothly enlarged scans in [0, 1], `(1797, 32, 32)`, and their labels."""
    import scipy.ndimage
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    scans = scans.reshape(-1, 8, 8).astype(np.float32) / 16
    enlarged = scipy.ndimage.zoom(
        scans, (1, _SIDE / 8, _SIDE / 8), order=3, grid_mode=True, mode="grid-constant"
    )
    return np.clip(enlarged, 0, 1), labels


def _plain(chosen, renderings):
    scans, labels = _scans()
    images = np.repeat(np.round(255 * scans[chosen]).astype(np.uint8)[..., None], 3, axis=3)
    return images, labels[chosen]


def _rendered(chosen, renderings):
    """`renderings` pictures of each chosen scan; a scan's r-th picture does not depend on the others."""
    scans, labels = _scans()
    rounds = [_render(scans, chosen, np.random.default_rng((_SEED, r))) for r in range(renderings)]
    return np.concatenate(rounds), np.tile(labels[chosen], renderings)


def _render(scans, chosen, rng):
    """One picture of each chosen scan, uint8 `(n, 32, 32, 3)`."""
    # Drawn for all scans, then chosen from, so that a picture is the same in every partition.
    share = {name: rng.random((len(scans),) + shape, np.float32)[chosen] for name, shape in _DRAWS.items()}
    ink = _place(scans[chosen], share)[..., None]
    back = _background(share)
    colour = _lighten(share["colour"], _luminance(back).mean(axis=(1, 2)) + 0.35)
    picture = back + ink * (colour[:, None, None] - back)
    noise = rng.standard_normal((len(scans), _SIDE, _SIDE, 3), np.float32)[chosen]
    return np.round(255 * np.clip(picture + 0.03 * noise, 0, 1)).astype(np.uint8)


_DRAWS = {
    "size": (),
    "slant": (),
    "turn": (),
    "top": (),
    "left": (),
    "colour": (3,),
    "back": (2, 3),
    "cloud": (6, 6),
    "striped": (),
    "stripe": (3,),
}


def _place(scans, share):
    """The ink of each scan on its canvas: moved, scaled, slanted, turned; bilinear, 0 outside the scan."""
    size = 16 + 4 * share["size"]
    slant, turn = 0.4 * share["slant"] - 0.2, np.deg2rad(20 * share["turn"] - 10)
    centre_y, centre_x = ((_SIDE - size) * share[key] + size / 2 for key in ("top", "left"))
    pixel = np.arange(_SIDE, dtype=np.float32) + 0.5
    y = pixel[None, :, None] - centre_y[:, None, None]
    x = pixel[None, None, :] - centre_x[:, None, None]
    cos, sin, slant, zoom = (v[:, None, None] for v in (np.cos(turn), np.sin(turn), slant, _SIDE / size))
    y, x = cos * y - sin * x, sin * y + cos * x
    return _bilinear(scans, zoom * y + _SIDE / 2 - 0.5, zoom * (x + slant * y) + _SIDE / 2 - 0.5)


def _bilinear(images, y, x):
    """Values of images `(n, side, side)` at places `(n, ...)`; 0 outside."""
    side = images.shape[1] + 2
    flat = np.pad(images, ((0, 0), (1, 1), (1, 1))).reshape(-1)
    y, x = (np.clip(v + 1, 0, side - 1.001) for v in (y, x))
    top, left = y.astype(np.int32), x.astype(np.int32)
    y, x = y - top, x - left
    place = np.arange(len(images), dtype=np.int32)[:, None, None] * side * side + top * side + left
    upper = flat[place] * (1 - x) + flat[place + 1] * x
    lower = flat[place + side] * (1 - x) + flat[place + side + 1] * x
    return upper * (1 - y) + lower * y


def _background(share):
    """Two colours mixed by clouds or by stripes, dimmed, `(n, 32, 32, 3)`."""
    spread = np.linspace(0, 5, _SIDE, dtype=np.float32)
    hat = np.maximum(1 - np.abs(spread[:, None] - np.arange(6, dtype=np.float32)), 0)
    clouds = hat @ share["cloud"] @ hat.T
    period, angle, phase = 4 + 8 * share["stripe"][:, 0], np.pi * share["stripe"][:, 1], share["stripe"][:, 2]
    pixel = np.arange(_SIDE, dtype=np.float32)
    along = np.sin(angle)[:, None, None] * pixel[:, None] + np.cos(angle)[:, None, None] * pixel
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * (along / period[:, None, None] + phase[:, None, None]))
    texture = np.where(share["striped"][:, None, None] < 0.5, stripes, clouds)[..., None]
    first, second = share["back"][:, 0, None, None], share["back"][:, 1, None, None]
    return 0.6 * (first + 0.3 * texture * (second - first))


def _luminance(colours):
    return colours @ np.array([0.299, 0.587, 0.114], np.float32)


def _lighten(colours, least):
    """Colours `(n, 3)` blended with white until their luminance is at least `least`."""
    luminance = _luminance(colours)
    white = np.clip((least - luminance) / (1 - luminance), 0, 1)[:, None]
    return colours + white * (1 - colours)
