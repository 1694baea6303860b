"""Config <-> flags <-> flagfile."""

import dataclasses

import pytest
from command_line import parsed
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_directpred.config import Config

FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def replayed(config, folder):
    """What `flags.cfg` of a run makes of a second command."""
    (folder / "flags.cfg").write_text(config.flagfile())
    return parsed(f"--flagfile={folder / 'flags.cfg'}", f"--run_dir={config.run_dir}")


def test_defaults_of_flags_are_those_of_the_fields():
    assert parsed("--run_dir=r") == Config(run_dir="r")


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_flag_with_help(name):
    field = FIELDS[name]
    assert field.metadata["help"].endswith(".") or field.metadata["choices"]
    assert not name.startswith("_")


def test_there_are_not_too_many_flags():
    assert len(FIELDS) <= 48


def test_every_kind_of_flag_arrives():
    config = parsed(
        "--run_dir=r", "--batch_size=32", "--learning_rate=0.5", "--predictor=linear(bias=True)",
        "--nosymmetrize", "--steps=7", "--eval_dataset=digits",
    )
    expected = Config(
        run_dir="r", batch_size=32, learning_rate=0.5, predictor="linear(bias=True)", symmetrize=False,
        steps=7, eval_dataset="digits",
    )
    assert config == expected


CHARACTERS = st.characters(codec="ascii", exclude_categories=("C",))
WORDS = st.text(CHARACTERS, min_size=1).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "dataset": WORDS,
            "data_dir": st.none() | WORDS,
            "predictor": WORDS,
            "learning_rate": st.floats(min_value=1e-300, max_value=1e300),
            "target_momentum": st.floats(0, 1),
            "weight_decay": st.floats(0, 1),
            "steps": st.none() | st.integers(1, 10**12),
            "seed": st.integers(0, 2**31),
            "symmetrize": st.booleans(),
            "jit_compile": st.booleans(),
            "mixed_precision": st.sampled_from(FIELDS["mixed_precision"].metadata["choices"]),
        },
    )
)
def test_a_flagfile_replays_the_run(tmp_path_factory, values):
    config = Config(run_dir="r", **values)
    assert replayed(config, tmp_path_factory.mktemp("run")) == config


def test_a_flagfile_is_of_the_run_not_of_the_command(tmp_path):
    config = Config(run_dir="r", overwrite=True, mode="evaluate", steps=3)
    again = replayed(config, tmp_path)
    assert again == Config(run_dir="r", steps=3)


@pytest.mark.parametrize(
    "field, value, allowed",
    [
        ("mode", "trian", "train, evaluate, linear, export"),
        ("target", "EMA", "ema, none"),
        ("target_init", "zeros", "copy, random"),
        ("target_momentum", 1.2, "in [0, 1]"),
        ("target_momentum", float("nan"), "in [0, 1]"),
        ("target_momentum_schedule", "linear", "constant, cosine"),
        ("learning_rate", 0.0, "positive"),
        ("learning_rate", float("nan"), "positive"),
        ("learning_rate", float("inf"), "positive"),
        ("learning_rate_schedule", "cosin", "constant, cosine"),
        ("warmup_epochs", -1.0, "0 or more"),
        ("warmup_epochs", float("inf"), "0 or more"),
        ("weight_decay", -1e-4, "0 or more"),
        ("weight_decay", float("inf"), "0 or more"),
        ("batch_size", 0, "positive"),
        ("epochs", -1, "positive"),
        ("steps", 0, "positive"),
        ("seed", -1, "in [0, 2**32)"),
        ("seed", 2**32, "in [0, 2**32)"),
        ("mixed_precision", "float16", "float32, mixed_bfloat16, mixed_float16"),
        ("knn_every", -1, "0 or more"),
        ("checkpoint_minutes", -0.1, "0 or more"),
        ("eval_examples", 0, "positive"),
        ("probe_epochs", 0, "positive"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(field, value, allowed):
    with pytest.raises(ValueError) as caught:
        Config(run_dir="r", **{field: value})
    words = str(caught.value)
    assert words.startswith(f"{field} must be ") and allowed in words
    assert words.endswith(f"Received: {field}={value}")


def test_every_flag_with_choices_or_a_range_refuses_something():
    unchecked = {n for n, f in FIELDS.items() if f.type in (int, float) and not f.metadata["valid"]}
    assert not unchecked


@pytest.mark.parametrize(
    "values, words",
    [
        ({"run_dir": ""}, "--run_dir"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"stop_gradient": False}, "target=none"),
    ],
)
def test_combinations_that_cannot_be(values, words):
    with pytest.raises(ValueError, match=words):
        Config(**{"run_dir": "r", **values})


def test_a_config_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config(run_dir="r").steps = 3
