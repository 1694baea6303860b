"""Parses command lines into a `Config`, for tests that need many in one process."""

import functools

import pytest
from absl import flags

from tf_directpred import config as configuration


def parsed(*arguments):
    """The `Config` of a command line, from flags of its own."""
    own = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configuration.flags, "FLAGS", own)
        for name in ("string", "integer", "float", "bool"):
            define = functools.partial(getattr(flags, f"DEFINE_{name}"), flag_values=own)
            patch.setattr(configuration.flags, f"DEFINE_{name}", define)
        configuration.define_flags()
        own(["main", *arguments])
        return configuration.from_flags()
