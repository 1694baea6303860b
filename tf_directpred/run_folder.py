"""The folder of a run: claimed once, never overwritten unasked, every file in it written whole."""

import json
import os
import pathlib
import shutil


class RunFolder:
    """A run's folder and the names of what lies in it.

    Args:
        path: the folder; need not exist.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.flags = self.path / "flags.cfg"
        self.metrics = self.path / "metrics.json"
        self.history = self.path / "history.csv"
        self.checkpoints = self.path / "checkpoints"

    def claim(self, flagfile, resume=False, overwrite=False):
        """Makes the folder this run's own.

        Args:
            flagfile: the run as a flagfile's text, which `flags.cfg` will hold.
            resume: continue where the folder holds an unfinished run of the same flags.
            overwrite: remove the run that lies there; nothing but runs is ever removed.

        Raises:
            ValueError: the folder holds something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"run_dir must be a folder. Received: the file {self.path}")
        if self.path.is_dir() and any(self.path.iterdir()):
            if not self.flags.is_file():
                raise ValueError(f"{self.path} is not empty and holds no run (no flags.cfg): choose another run_dir")
            if overwrite:
                self._remove()
            elif not resume:
                advice = "finished" if self.finished else "unfinished (--resume continues it)"
                raise ValueError(f"{self.path} holds a run, {advice}: choose another run_dir or pass --overwrite")
            else:
                self._check_resumable(flagfile)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write("flags.cfg", flagfile)
        except OSError as error:
            raise ValueError(f"run_dir {self.path} cannot be written: {error.strerror}") from error

    @property
    def finished(self):
        """Whether the run was trained and evaluated; evaluating an unfinished run writes no `steps`."""
        return "steps" in self.read_metrics()

    def _remove(self):
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be replaced: {error.strerror or error}") from error

    def _check_resumable(self, flagfile):
        if self.finished:
            raise ValueError(f"{self.path} holds a finished run: there is nothing to resume")
        there, here = set(self.flags.read_text().splitlines()), set(flagfile.splitlines())
        if there != here:
            changed = ", ".join(sorted(there ^ here))
            raise ValueError(f"{self.path} holds a run of other flags, which --resume cannot continue: {changed}")

    def require(self):
        """Refuses a folder that holds no run.

        Raises:
            ValueError: there is no flags.cfg.
        """
        if not self.flags.is_file():
            raise ValueError(f"{self.path} holds no run (no flags.cfg): train one first")

    def read_metrics(self):
        """The numbers written so far, as a dict."""
        return json.loads(self.metrics.read_text()) if self.metrics.is_file() else {}

    def write_metrics(self, numbers):
        """Adds numbers to metrics.json."""
        self.write("metrics.json", json.dumps({**self.read_metrics(), **numbers}, indent=2) + "\n")

    def write(self, name, text):
        """Writes a text file as a whole: a reader finds the old one or the new one."""
        temporary = self.path / f".{name}.new"
        temporary.write_text(text)
        os.replace(temporary, self.path / name)
