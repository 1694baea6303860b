"""The parts that workers make of a batch are, together, the batch that one worker makes."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_directpred import distribution
from tf_directpred.data import SOURCES, view_batches


@pytest.mark.parametrize("kind", ["digits", "photos"])
def test_parts_make_the_whole(kind, photos):
    source = SOURCES.create("digits(clutter=False)" if kind == "digits" else photos)
    recipe = "none(crop_area=(0.2, 1.0), flip=0.5, grey=0.5)"  # few operations to compile
    make = functools.partial(view_batches, source, recipe, 6, seed=1, start=3)
    parts = [list(make(part=(i, 2)).take(2).as_numpy_iterator()) for i in range(2)]
    for step, whole in enumerate(make().take(2).as_numpy_iterator()):
        for view in ("view1", "view2"):
            joined = np.concatenate([part[step][view] for part in parts])
            np.testing.assert_allclose(joined, whole[view], atol=1e-6)
        assert np.abs(whole["view1"][:3] - whole["view1"][3:]).max() > 0.1


def test_an_indivisible_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of 4"):
        view_batches(SOURCES.create("digits(clutter=False)"), "digits", 6, seed=0, part=(0, 4))


def test_one_device_takes_the_batches_as_they_are():
    strategy = tf.distribute.get_strategy()
    batches = distributed = tf.data.Dataset.range(3)
    received = []
    distributed = distribution.distributed(strategy, lambda part: received.append(part) or batches)
    assert received == [(0, 1)] and distributed is batches
