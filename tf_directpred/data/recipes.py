"""Augmentation recipes as data: which distortions a view gets, how strong and how often."""

import dataclasses

from tf_directpred.registry import parse_spec

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONVENTIONS = ("torchvision", "deepmind")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What happens to one view, in this order: crop, flip, jitter, grey, blur, solarise, normalise.

    Args:
        size: side of the view in pixels; None: that of the image it is cut from.
        crop_area: range of the crop's share of the image area; None: no crop.
        crop_ratio: range of the crop's width / height, drawn log-uniformly.
        flip: probability of a horizontal flip.
        jitter: strengths of (brightness, contrast, saturation, hue), applied in random order.
        jitter_probability: probability that an image is jittered at all.
        grey: probability of turning grey.
        blur: probability of a Gaussian blur, its standard deviation in pixels drawn uniformly from
            `blur_sigma`, its window `blur_kernel` (odd) pixels wide.
        solarize: probability of inverting every value >= 0.5.
        mean, std: normalisation per channel, of views and of evaluation images.
        convention: "torchvision" (crop: first of 10 draws that fits, antialiased bilinear; brightness
            multiplies, contrast blends with the mean of the grey image, saturation with the grey image;
            blur reflects at the border) or "deepmind" (one crop draw clipped to the image, bicubic;
            brightness adds, contrast about per-channel means, saturation scales S of HSV; blur pads 0).
        other_view: name of the recipe of the second view; None: the same.
    """

    size: int | None = None
    crop_area: tuple | None = (0.08, 1.0)
    crop_ratio: tuple = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    grey: float = 0.2
    blur: float = 0.0
    blur_kernel: int = 9
    blur_sigma: tuple = (0.1, 2.0)
    solarize: float = 0.0
    mean: tuple = (0.0, 0.0, 0.0)
    std: tuple = (1.0, 1.0, 1.0)
    convention: str = "torchvision"
    other_view: str | None = None


_CIFAR = Recipe(mean=CIFAR_MEAN, std=CIFAR_STD)
_BYOL = Recipe(
    jitter=(0.4, 0.4, 0.2, 0.1),
    blur=1.0,
    blur_kernel=23,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    convention="deepmind",
)

RECIPES = {
    # Tian et al. 2021 (official code) for CIFAR-10 and STL-10.
    "directpred_cifar": _CIFAR,
    "directpred_stl": Recipe(jitter=(0.8, 0.8, 0.8, 0.2), blur=1.0),
    # Chen et al. 2020, CIFAR-10: colour strength 0.5 and no blur are the same numbers.
    "simclr_cifar": _CIFAR,
    # Grill et al. 2020: one view gets T, the other T'.
    "byol_imagenet_T": dataclasses.replace(_BYOL, other_view="byol_imagenet_T_prime"),
    "byol_imagenet_T_prime": dataclasses.replace(_BYOL, blur=0.1, solarize=0.2, other_view="byol_imagenet_T"),
    # Chen and He 2021.
    "simsiam_imagenet": Recipe(
        crop_area=(0.2, 1.0),
        blur=0.5,
        blur_kernel=23,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    # Cluttered digits: place and colour vary, shape must stay; a flipped digit is another sign.
    "digits": Recipe(
        size=24,
        crop_area=(0.85, 1.0),
        flip=0.0,
        jitter=(0.4, 0.4, 0.4, 0.5),
        blur=0.5,
        blur_kernel=5,
        blur_sigma=(0.1, 1.0),
    ),
    "none": Recipe(crop_area=None, flip=0.0, jitter=(0.0, 0.0, 0.0, 0.0), jitter_probability=0.0, grey=0.0),
}


def find_recipe(recipe):
    """The `Recipe` of a spec, `"name"` or `"name(field=value, ...)"`; a `Recipe` is returned as it is.

    Raises:
        ValueError: unknown name (with the known ones), or a field or value no recipe can have.
    """
    if isinstance(recipe, Recipe):
        return recipe
    name, changes = parse_spec(recipe)
    if name not in RECIPES:
        raise ValueError(f"Unknown augmentation recipe {name!r}. Known: {', '.join(sorted(RECIPES))}")
    fields = [field.name for field in dataclasses.fields(Recipe)]
    unknown = sorted(set(changes) - set(fields))
    if unknown:
        raise ValueError(f"A recipe has no field {', '.join(unknown)}. Allowed: {', '.join(fields)}")
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return dataclasses.replace(RECIPES[name], **changes)


def recipe_spec(recipe):
    """The spec that `find_recipe` reads as `recipe`."""
    changes = {k: v for k, v in dataclasses.asdict(recipe).items() if v != getattr(RECIPES["none"], k)}
    return f"none({', '.join(f'{key}={value!r}' for key, value in changes.items())})"
