"""Datasets, batched augmentation and two-view batches."""

from tf_directpred.data import digits as _digits
from tf_directpred.data import folder as _folder
from tf_directpred.data import tfds as _tfds
from tf_directpred.data.augmentation import augment, normalize, view_size
from tf_directpred.data.encoded import unreadable_image
from tf_directpred.data.pipeline import image_batches, labelled_crops, steps_per_epoch, view_batches
from tf_directpred.data.recipes import RECIPES, Recipe, find_recipe
from tf_directpred.data.source import SOURCES, Source, Split
from tf_directpred.data.views import TwoViews
