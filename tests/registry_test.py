"""Names and specs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_directpred.registry import Registry, parse_spec


@pytest.fixture
def networks():
    registry = Registry("network")

    @registry.register("dense")
    def dense(units, bias=True, init="he", input_shape=None):
        return units, bias, init, input_shape

    @registry.register("picky")
    class Picky:
        def __init__(self, rate=0.5, **kwargs):
            if rate > 1:
                raise ValueError(f"rate must lie in [0, 1]. Received: rate={rate}")
            self.rate = rate + 0

    return registry


def test_a_bare_name_has_no_arguments():
    assert parse_spec("directpred") == ("directpred", {})
    assert parse_spec(" directpred() ") == ("directpred", {})


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner),
    max_leaves=5,
)
KEYS = st.sampled_from(["rho", "epsilon", "widths", "path"])


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, LITERALS))
def test_what_python_writes_is_read_back(kwargs):
    spec = f"name({', '.join(f'{key}={value!r}' for key, value in kwargs.items())})"
    assert parse_spec(spec) == ("name", kwargs)


@pytest.mark.parametrize(
    "spec",
    [
        "", "a b", "1", "a.b(c=1)", "a(1)", "a(b=c)", "a(b=c())", "a(**{'b': 1})", "a(b=1", "a()()",
        "a(b=1, b=2)", "a\0b", None,
    ],
)
def test_what_is_no_spec_is_quoted(spec):
    with pytest.raises(ValueError, match="Received: ") as caught:
        parse_spec(spec)
    assert repr(spec) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_specs_are_data_never_code(tmp_path):
    with pytest.raises(ValueError, match="literal"):
        parse_spec(f"a(b=open({str(tmp_path / 'made')!r}, 'w'))")
    assert not list(tmp_path.iterdir())


def test_create_hands_the_spec_to_the_member(networks):
    assert networks.create("dense(units=3, init='torch')") == (3, True, "torch", None)


def test_create_adds_the_context_that_the_member_takes(networks):
    assert networks.create("dense(units=3)", input_shape=(8,), data_dir="/data") == (3, True, "he", (8,))


def test_the_spec_goes_before_the_context(networks):
    assert networks.create("dense(units=3, input_shape=(9,))", input_shape=(8,))[-1] == (9,)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("densse", ["Unknown network 'densse'", "dense, picky"]),
        ("dense(units=3, depth=2)", ["network 'dense' takes no argument depth", "dense(units, bias=True"]),
        ("dense", ["needs units", "dense(units, bias=True"]),
        ("picky(rate=2)", ["rate must lie in [0, 1]. Received: rate=2"]),
        ("picky(rate='x')", ["picky(rate='x')", "picky(rate=0.5)"]),
        ("picky(name='x')", ["takes no argument name"]),  # **kwargs are Keras's, no hyper-parameters
    ],
)
def test_errors_name_what_is_allowed(networks, spec, words):
    with pytest.raises(ValueError) as caught:
        networks.create(spec)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_flags_are_not_the_specs_to_set(networks):
    with pytest.raises(ValueError, match="pass --bias"):
        networks.create("dense(units=3, bias=False)", fixed=("bias",))


def test_names_are_sorted_and_taken_once(networks):
    assert networks.names() == ["dense", "picky"]
    with pytest.raises(ValueError, match="'dense' is taken by dense"):
        networks.register("dense")(lambda units: units)
    assert networks.create("dense(units=1)")[0] == 1
