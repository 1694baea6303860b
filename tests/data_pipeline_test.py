import numpy as np
import pytest
import tensorflow as tf

from tf_directpred.data import RECIPES, Source, steps_per_epoch, view_batches
from tf_directpred.data.source import ArraySplit, choose_examples

SIZE, BATCH = 21, 4


@pytest.fixture(scope="module")
def source():
    """Images that say which one they are: image i is everywhere i."""
    images = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None, None, None], (SIZE, 8, 8, 3))
    split = ArraySplit(lambda: (images, np.arange(SIZE) % 3))
    return Source("numbers", (8, 8, 3), 3, None, {"train": split}, "train", "train", "train", "none")


def numbers(source, steps, seed=0, start=0):
    batches = view_batches(source, "none", BATCH, seed, start).take(steps).as_numpy_iterator()
    return [np.round(255 * batch["view1"][:, 0, 0, 0]).astype(int) for batch in batches]


def test_an_epoch_shows_each_image_at_most_once_in_ever_new_order(source):
    steps = steps_per_epoch(source, BATCH)
    assert steps == SIZE // BATCH
    shown = np.concatenate(numbers(source, 40 * steps)).reshape(40, -1)
    for epoch in shown:
        assert len(set(epoch)) == steps * BATCH
    assert len({tuple(epoch) for epoch in shown}) == 40
    # What one epoch leaves out the others show: every image about equally often.
    assert np.bincount(shown.ravel(), minlength=SIZE).min() >= 30
    assert np.abs(np.corrcoef(shown) - np.eye(40)).max() < 0.85


def test_batch_t_depends_on_seed_and_t_alone(source):
    def batches(seed, start, steps):
        return list(
            view_batches(source, "digits(size=8)", BATCH, seed, start).take(steps).as_numpy_iterator()
        )

    whole = batches(seed=3, start=0, steps=12)
    for start in (4, 5, 11):  # 5 steps an epoch
        for name in ("view1", "view2"):
            np.testing.assert_array_equal(batches(3, start, 1)[0][name], whole[start][name])
    assert (batches(4, 0, 1)[0]["view1"] != whole[0]["view1"]).any()
    assert not np.array_equal(numbers(source, 5, seed=0), numbers(source, 5, seed=1))


def test_a_start_far_away_costs_nothing(source):
    assert len(numbers(source, 2, start=10**12)) == 2


def test_views_are_of_the_same_images_and_differ(source):
    batch = next(view_batches(source, "directpred_cifar", BATCH, 0).as_numpy_iterator())
    assert set(batch) == {"view1", "view2"}
    assert batch["view1"].dtype == np.float32 and batch["view1"].shape == (BATCH, 8, 8, 3)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(batch["view1"], batch["view2"]))


def test_the_second_view_has_its_own_recipe(source):
    recipe = RECIPES["none"]
    batch = next(
        view_batches(source, recipe, BATCH, 0, other_recipe="none(mean=(1.0, 1.0, 1.0))").as_numpy_iterator()
    )
    np.testing.assert_allclose(batch["view2"], batch["view1"] - 1, atol=1e-6)
    # T' solarises, T does not: view2 of T is view2 of T' given as such, and not of T.
    named = next(view_batches(source, "byol_imagenet_T", BATCH, 0).as_numpy_iterator())
    given = next(
        view_batches(
            source, "byol_imagenet_T", BATCH, 0, other_recipe="byol_imagenet_T_prime"
        ).as_numpy_iterator()
    )
    np.testing.assert_array_equal(named["view2"], given["view2"])


def test_static_shapes(source):
    spec = view_batches(source, "digits", BATCH, 0).element_spec
    assert {name: tuple(s.shape) for name, s in spec.items()} == {
        "view1": (BATCH, 24, 24, 3),
        "view2": (BATCH, 24, 24, 3),
    }


@pytest.mark.parametrize("batch_size", [22, 0, -1])
def test_a_batch_larger_than_the_data_is_refused(source, batch_size):
    with pytest.raises(
        ValueError,
        match=rf"^batch_size must lie in \[1, 21\].*numbers 'train'. Received: batch_size={batch_size}$",
    ):
        view_batches(source, "none", batch_size, 0)


def test_evaluation_batches_are_all_images_in_order(source):
    images, labels = zip(*source.splits["train"].batches(8).as_numpy_iterator())
    assert [len(batch) for batch in images] == [8, 8, 5]
    np.testing.assert_array_equal(np.concatenate(images)[:, 0, 0, 0], np.arange(SIZE))
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(SIZE) % 3)
    assert images[0].dtype == np.uint8 and labels[0].dtype == np.int64


def test_arrays_of_a_subset_and_of_an_unlabelled_split(source):
    images, labels = source.splits["train"].arrays(examples=6, seed=1)
    np.testing.assert_array_equal(np.bincount(labels), [2, 2, 2])
    np.testing.assert_array_equal(images[:, 0, 0, 0] % 3, labels)
    batches = list(source.splits["train"].batches(4, examples=6, seed=1).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), labels)
    bare = ArraySplit(lambda: (images, None), labelled=False)
    assert bare.arrays()[1] is None
    assert set(next(bare.batches(6).as_numpy_iterator())[1]) == {-1}


def test_choose_examples_is_balanced_seeded_and_sorted():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [100, 50, 30, 2]))
    chosen = choose_examples(labels, len(labels), 42, seed=0)
    assert sorted(np.bincount(labels[chosen])) == [2, 13, 13, 14]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, choose_examples(labels, len(labels), 42, seed=0))
    assert not np.array_equal(chosen, choose_examples(labels, len(labels), 42, seed=1))
    np.testing.assert_array_equal(choose_examples(labels, 182, None, 0), np.arange(182))
    np.testing.assert_array_equal(choose_examples(labels, 182, 500, 0), np.arange(182))
    assert len(set(choose_examples(None, 182, 10, 0))) == 10


def test_images_stay_uint8_until_a_view_is_made(source):
    assert source.splits["train"].training_batches(BATCH, 0).element_spec[1].dtype == tf.uint8
