import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_directpred.data import SOURCES, unreadable_image, view_batches


def write(path, colour=(200, 30, 30), size=(40, 30), mode="RGB", **kwargs):
    """A picture of one colour with a darker left half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    pixels[:, : size[0] // 2] //= 2
    Image.fromarray(pixels).convert(mode).save(path, **kwargs)
    return path


def classes(root, counts, suffix=".jpg"):
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            write(
                root / name / f"{i:02d}{suffix}", colour=(50 * number + 20, 100, i), size=(40 + i, 30 + 2 * i)
            )


def files(split):
    return {os.path.basename(os.path.dirname(p)) + "/" + os.path.basename(p) for p in split.paths}


def test_a_labelled_folder_holds_out_a_fifth_of_each_class(tmp_path):
    classes(tmp_path, {"b": 10, "a": 5, "c": 2})
    source = SOURCES.create("folder(size=16)", data_dir=str(tmp_path))
    assert source.class_names == ("a", "b", "c") and source.num_classes == 3
    train, test = source.splits["train"], source.splits["test"]
    np.testing.assert_array_equal(np.bincount(test.labels), [1, 2, 1])
    np.testing.assert_array_equal(np.bincount(train.labels), [4, 8, 1])
    assert not files(train) & files(test) and len(files(train) | files(test)) == 17
    again = SOURCES.create("folder(size=16)", data_dir=str(tmp_path))
    assert files(again.splits["test"]) == files(test)
    seeds = {
        frozenset(files(SOURCES.create(f"folder(size=16, seed={s})", data_dir=str(tmp_path)).splits["test"]))
        for s in range(5)
    }
    assert len(seeds) > 1
    images, labels = test.arrays()
    assert images.shape == (4, 16, 16, 3) and images.dtype == np.uint8
    # The red of an image tells its class: b was written first, then a, then c.
    np.testing.assert_allclose(images[:, 8, 12, 0], np.array([70, 20, 120])[labels], atol=4)


@pytest.mark.parametrize("test_folder", ["test", "val", "validation"])
def test_train_and_test_folders_are_splits(tmp_path, test_folder):
    classes(tmp_path / "train", {"cat": 4, "dog": 3})
    classes(tmp_path / test_folder, {"cat": 2, "dog": 1})
    source = SOURCES.create(f"folder(path={str(tmp_path)!r})")
    assert (source.splits["train"].size, source.splits["test"].size) == (7, 3)
    assert source.class_names == ("cat", "dog")
    np.testing.assert_array_equal(source.splits["test"].labels, [0, 0, 1])
    assert source.image_shape == (30, 30, 3)  # the shorter side of the first image


def test_classes_beside_a_test_folder_are_for_training(tmp_path):
    classes(tmp_path, {"cat": 4, "dog": 3})
    classes(tmp_path / "test", {"dog": 1})
    source = SOURCES.create(f"folder(path={str(tmp_path)!r})")
    assert source.class_names == ("cat", "dog") and source.splits["train"].size == 7
    np.testing.assert_array_equal(source.splits["test"].labels, [1])


def test_a_test_class_that_train_has_not(tmp_path):
    classes(tmp_path / "train", {"cat": 4, "dog": 3})
    classes(tmp_path / "test", {"cat": 1, "cow": 1})
    with pytest.raises(ValueError, match="classes that train has not: cow"):
        SOURCES.create(f"folder(path={str(tmp_path)!r})")


@pytest.mark.parametrize(
    "names", [["a.jpg", "b.png"], ["only/a.jpg", "only/b.jpg"], ["a.jpg", "x/b.jpg", "y/c.jpg"]]
)
def test_without_labels_there_is_only_pretraining(tmp_path, names):
    for name in names + ["notes.txt"]:
        if name.endswith("txt"):
            (tmp_path / name).write_text("no image")
        else:
            write(tmp_path / name)
    source = SOURCES.create("folder", data_dir=str(tmp_path))
    assert source.num_classes is source.class_names is source.train_split is source.test_split is None
    assert source.splits["train"].size == len(names) and not source.splits["train"].labelled
    batch = next(view_batches(source, "directpred_cifar", 2, 0).as_numpy_iterator())
    assert batch["view1"].shape == (2, 30, 30, 3)


def test_every_kind_of_jpeg_and_png_becomes_rgb(tmp_path):
    kinds = {
        "rgb.jpg": "RGB",
        "grey.jpeg": "L",
        "cmyk.JPG": "CMYK",
        "rgb.png": "RGB",
        "alpha.png": "RGBA",
        "grey.png": "L",
        "greyalpha.PNG": "LA",
        "palette.png": "P",
        "one.png": "1",
    }
    for name, mode in kinds.items():
        write(tmp_path / name, mode=mode)
    os.rename(write(tmp_path / "png_inside.png"), tmp_path / "png_inside.jpg")
    Image.fromarray(np.full((30, 40), 40000, np.uint16)).save(tmp_path / "deep.png")
    source = SOURCES.create("folder(size=16)", data_dir=str(tmp_path))
    assert source.splits["train"].size == len(kinds) + 2
    images = dict(
        zip([os.path.basename(p) for p in source.splits["train"].paths], source.splits["train"].arrays()[0])
    )
    for name in ("rgb.jpg", "cmyk.JPG", "rgb.png", "alpha.png", "palette.png", "png_inside.jpg"):
        assert np.abs(images[name][8, 14].astype(int) - [200, 30, 30]).max() < 45, name
    for name in ("grey.jpeg", "grey.png", "greyalpha.PNG"):
        assert np.abs(images[name][8, 14].astype(int) - 81).max() < 6, name
    assert np.abs(images["deep.png"].astype(int) - 156).max() < 3
    views = next(view_batches(source, "none", 11, 0).as_numpy_iterator())["view1"]
    assert views.shape == (11, 16, 16, 3) and np.isfinite(views).all()


def test_evaluation_image_is_the_centre_of_the_resized_one(tmp_path):
    wide = np.zeros((56, 112, 3), np.uint8)
    wide[:, 28:84] = np.random.default_rng(0).integers(0, 256, (7, 7, 3)).repeat(8, 0).repeat(8, 1)
    Image.fromarray(wide).save(tmp_path / "a.png")
    write(tmp_path / "b.png")
    images, _ = SOURCES.create("folder(size=28)", data_dir=str(tmp_path)).splits["train"].arrays()
    resized = Image.fromarray(wide).resize((64, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((18, 2, 46, 30)), int)
    assert np.abs(images[0].astype(int) - expected).max() <= 2


def test_views_are_crops_of_the_file_and_a_function_of_seed_and_step(tmp_path):
    classes(tmp_path, {"a": 5, "b": 4})
    classes(tmp_path, {"c": 3}, suffix=".png")
    source = SOURCES.create("folder(size=24)", data_dir=str(tmp_path))
    whole = list(view_batches(source, "directpred_stl", 4, 1).take(6).as_numpy_iterator())
    for start in (1, 2, 5):
        again = next(view_batches(source, "directpred_stl", 4, 1, start).as_numpy_iterator())
        for name in ("view1", "view2"):
            np.testing.assert_array_equal(again[name], whole[start][name])
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(whole[0]["view1"], whole[0]["view2"]))


def test_a_crop_of_a_jpeg_equals_that_of_its_decoded_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    picture = Image.fromarray(noise).resize((90, 120), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(tf.io.decode_image((tmp_path / "a.jpg").read_bytes()).numpy()).save(tmp_path / "b.png")
    recipe = "simclr_cifar(jitter_probability=0.0, grey=0.0, crop_area=(0.3, 0.3), crop_ratio=(1.0, 1.0))"
    views = {}
    for name in ("a.jpg", "b.png"):
        alone = tmp_path / name[0]
        alone.mkdir()
        os.rename(tmp_path / name, alone / name)
        source = SOURCES.create("folder(size=32)", data_dir=str(alone))
        views[name] = next(view_batches(source, recipe, 1, 0).as_numpy_iterator())
    for view in ("view1", "view2"):
        # The window alone has no neighbours to interpolate its subsampled colours from.
        assert np.abs(views["a.jpg"][view] - views["b.png"][view]).mean() * 0.2 < 2 / 255


@pytest.mark.parametrize("name", ["broken.jpg", "broken.png"])
@pytest.mark.parametrize("content", [b"", b"no image at all", "truncated"])
def test_a_corrupt_image_is_named_in_training_and_in_evaluation(tmp_path, name, content):
    classes(tmp_path, {"a": 6, "b": 6}, suffix=name[-4:])
    broken = tmp_path / "b" / name
    if content == "truncated":
        broken.write_bytes((tmp_path / "b" / f"00{name[-4:]}").read_bytes()[:-15])
    else:
        broken.write_bytes(content)
    source = SOURCES.create("folder(size=16, seed=0)", data_dir=str(tmp_path))
    assert str(broken) in source.splits["train"].paths
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        for _ in view_batches(source, "simclr_cifar", 4, 0).take(4):
            pass
    assert unreadable_image(error.value) == f"Cannot read or decode the image {broken}"
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        source.splits["train"].arrays()
    assert unreadable_image(error.value) == f"Cannot read or decode the image {broken}"
    assert unreadable_image(ValueError("another")) is None


def test_a_corrupt_first_image_is_named_where_it_gives_the_size(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"^Cannot read or decode the image {tmp_path}/a.jpg$"):
        SOURCES.create("folder", data_dir=str(tmp_path))


def test_an_image_that_vanished_is_named(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.jpg")
    source = SOURCES.create("folder(size=16)", data_dir=str(tmp_path))
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        next(iter(view_batches(source, "none", 3, 0)))
    assert unreadable_image(error.value) == f"Cannot read or decode the image {tmp_path}/b.jpg"


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(
        ValueError, match=f"^The image folder {tmp_path}/none does not exist or is no folder$"
    ):
        SOURCES.create("folder", data_dir=f"{tmp_path}/none")
    with pytest.raises(
        ValueError, match=f"^The image folder {tmp_path} holds no .jpg, .jpeg, .png files to train on$"
    ):
        SOURCES.create("folder", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="needs a path"):
        SOURCES.create("folder")
    with pytest.raises(ValueError, match="size must be an integer of at least 8 pixels. Received: size=0"):
        SOURCES.create("folder(size=0)", data_dir=str(tmp_path))


def test_an_unreadable_folder(tmp_path, monkeypatch):
    write(tmp_path / "train" / "a.jpg")
    real = os.scandir

    def scandir(path):  # permissions do not stop root, so the refusal is played
        if str(path).endswith("train"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        ValueError, match=f"^The image folder {tmp_path}/train cannot be read: Permission denied$"
    ):
        SOURCES.create("folder", data_dir=str(tmp_path))


def test_a_batch_larger_than_the_folder(tmp_path):
    write(tmp_path / "a.jpg")
    source = SOURCES.create("folder(size=16)", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"batch_size must lie in \[1, 1\]"):
        view_batches(source, "none", 2, 0)


@pytest.mark.parametrize("spec, reads", [("folder", 1), ("folder(size=16)", 0)])
def test_a_start_reads_one_image_however_many_there_are(tmp_path, monkeypatch, spec, reads):
    classes(tmp_path, {"a": 2, "b": 1})
    calls = {"read_file": 0, "stat": 0, "lstat": 0}

    def count(module, name):
        real = getattr(module, name)

        def counted(*args, **kwargs):
            calls[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    def started(images):
        calls.update(dict.fromkeys(calls, 0))
        source = SOURCES.create(spec, data_dir=str(tmp_path))
        assert sum(split.size for split in source.splits.values()) == images
        return dict(calls)

    count(tf.io, "read_file")
    count(os, "stat")
    count(os, "lstat")
    few = started(3)
    for name in "ab":
        for i in range(20):
            (tmp_path / name / f"later{i}.png").touch()  # no image at all: nobody looks
    assert started(43) == few and few["read_file"] == reads


def test_links_hidden_files_and_cycles(tmp_path):
    write(tmp_path / "elsewhere" / "a.jpg")
    root = tmp_path / "root"
    write(root / "b.jpg")
    (root / "._b.jpg").write_bytes(b"resource fork")
    os.symlink(tmp_path / "elsewhere", root / "linked")
    os.symlink(root, tmp_path / "elsewhere" / "back")
    source = SOURCES.create("folder(size=16)", data_dir=str(root))
    assert sorted(os.path.basename(p) for p in source.splits["train"].paths) == ["a.jpg", "b.jpg"]
