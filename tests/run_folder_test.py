"""Who may have a run's folder."""

import json

import pytest

from tf_directpred.run_folder import RunFolder

FLAGS = "--seed=0\n--steps=3\n"


@pytest.fixture
def run(tmp_path):
    """A folder that holds an unfinished run with a checkpoint."""
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.claim(FLAGS)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "ckpt-2.index").write_text("state")
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_folder_is_made_with_its_flags(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.claim(FLAGS)
    assert contents(folder.path) == {"flags.cfg": FLAGS.encode()}


def test_an_empty_folder_is_taken(tmp_path):
    RunFolder(tmp_path).claim(FLAGS)
    assert (tmp_path / "flags.cfg").read_text() == FLAGS


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_of_other_things_is_left_alone(tmp_path, options):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        RunFolder(tmp_path).claim(FLAGS, **options)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_file_is_no_folder(tmp_path, options):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="must be a folder. Received: the file"):
        RunFolder(tmp_path / "file").claim(FLAGS, **options)
    assert (tmp_path / "file").read_text() == "x"


def test_a_run_is_neither_continued_nor_replaced_unasked(run):
    before = contents(run.path)
    with pytest.raises(ValueError, match="unfinished.*--resume.*--overwrite"):
        RunFolder(run.path).claim(FLAGS)
    assert contents(run.path) == before


def test_resume_keeps_an_unfinished_run_of_the_same_flags(run):
    before = contents(run.path)
    RunFolder(run.path).claim("--steps=3\n--seed=0\n", resume=True)
    assert contents(run.path).keys() == before.keys()
    assert (run.checkpoints / "ckpt-2.index").read_text() == "state"


def test_resume_names_the_flags_that_differ(run):
    before = contents(run.path)
    with pytest.raises(ValueError, match="other flags.*--seed=0, --seed=1"):
        RunFolder(run.path).claim("--seed=1\n--steps=3\n", resume=True)
    assert contents(run.path) == before


def test_resume_of_a_finished_run_is_refused(run):
    run.write_metrics({"steps": 3})
    before = contents(run.path)
    with pytest.raises(ValueError, match="finished run"):
        RunFolder(run.path).claim(FLAGS, resume=True)
    assert contents(run.path) == before


def test_evaluating_an_unfinished_run_does_not_finish_it(run):
    run.write_metrics({"knn_top1": 50.0})
    RunFolder(run.path).claim(FLAGS, resume=True)


def test_overwrite_replaces_a_run_as_a_whole(run):
    run.write_metrics({"steps": 3})
    RunFolder(run.path).claim("--seed=1\n", overwrite=True)
    assert contents(run.path) == {"flags.cfg": b"--seed=1\n"}


def test_overwrite_of_a_linked_folder_is_refused_or_done_never_a_crash(run, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(run.path, target_is_directory=True)
    before = contents(run.path)
    with pytest.raises(ValueError, match="link"):
        RunFolder(link).claim(FLAGS, overwrite=True)
    assert contents(run.path) == before


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "run").claim(FLAGS)


def test_require_wants_a_run(run, tmp_path):
    run.require()
    with pytest.raises(ValueError, match="holds no run"):
        RunFolder(tmp_path / "none").require()


def test_metrics_are_added_to(run):
    assert run.read_metrics() == {}
    run.write_metrics({"steps": 3, "loss": -1.5})
    run.write_metrics({"loss": -1.75, "knn_top1": 50.0})
    assert json.loads(run.metrics.read_text()) == {"steps": 3, "loss": -1.75, "knn_top1": 50.0}


def test_a_failed_write_leaves_the_old_file(run, monkeypatch):
    run.write_metrics({"steps": 3})

    def full_disk(*paths):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError):
        run.write_metrics({"steps": 4})
    assert run.read_metrics() == {"steps": 3}
