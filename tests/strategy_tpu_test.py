"""What a TPU would refuse, held on the CPU: the whole step compiles, with static shapes and nothing for the host."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_model

from tf_directpred.data import augment
from tf_directpred.optim import LARS

HOST = {"Print", "PrintV2", "PyFunc", "EagerPyFunc", "PyFuncStateless", "Assert", "AsString", "Unique", "Where"}
SOLVERS = ["directpred(solver='eigh')", "directpred(solver='newton_schulz')"]


@pytest.mark.parametrize("predictor", SOLVERS)
def test_the_step_compiled_equals_the_graph(predictor):
    """Both solvers as XLA has them: two steps, float32."""
    pair = [tiny_model.built(predictor, compiled={"jit_compile": jit}, target_momentum=0.9) for jit in (False, True)]
    for step in range(2):
        for model in pair:
            model.train_on_batch(tiny_model.views(step))
    graph, compiled = map(tiny_model.state, pair)
    for (name, wanted), found in zip(graph.items(), compiled.values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-4, rtol=2e-3, err_msg=name)


def operations(function):
    """All operations of a traced function and of the functions that it calls."""
    graph = function.graph.as_graph_def()
    return [*graph.node, *(node for called in graph.library.function for node in called.node_def)]


@pytest.fixture(scope="module")
def traced():
    """A BYOL-like step in bfloat16 with images augmented inside it, as a TPU would run it."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model.built(
            "directpred(solver='newton_schulz')", LARS(0.1), compiled={"jit_compile": True}, accumulate=2
        )
    finally:
        keras.config.set_dtype_policy("float32")

    @tf.function(jit_compile=True)
    def step(images, seed):
        views = {f"view{i + 1}": augment(images, "simclr_cifar", tf.stack([seed, i])) for i in range(2)}
        return model.train_step(views)

    images = tf.TensorSpec((8, *tiny_model.SHAPE), tf.uint8)
    return model, step, step.get_concrete_function(images, tf.TensorSpec((), tf.int32))


def test_nothing_in_the_step_is_for_the_host(traced):
    kinds = {node.op for node in operations(traced[2])}
    assert "MatMul" in kinds and not kinds & HOST
    assert not {kind for kind in kinds if "Dataset" in kind or kind.startswith("Summary") or "Host" in kind}


def test_nothing_in_the_step_is_a_string(traced):
    graph = traced[2].graph
    assert not [t.name for op in graph.get_operations() for t in op.outputs if t.dtype == tf.string]


def test_every_shape_in_the_step_is_static(traced):
    graph = traced[2].graph
    tensors = [t for op in graph.get_operations() for t in op.outputs if t.dtype not in (tf.resource, tf.variant)]
    assert len(tensors) > 500
    unknown = [tensor for tensor in tensors if not tensor.shape.is_fully_defined()]
    # Fused batch norm's last output, and its gradient, is a workspace that only cuDNN has.
    sources = {source.name for t in unknown for source in (t, *t.op.inputs) if "FusedBatchNormV3" in source.name}
    assert all(name.endswith("FusedBatchNormV3:5") for name in sources)
    assert all({t.name, *(source.name for source in t.op.inputs)} & sources for t in unknown)


def test_networks_compute_in_bfloat16_and_statistics_in_float32(traced):
    dtypes = {op.type: set() for op in traced[2].graph.get_operations()}
    for op in traced[2].graph.get_operations():
        dtypes[op.type] |= {t.dtype.name for t in op.outputs}
    assert dtypes["Conv2D"] == {"bfloat16"}
    model = traced[0]
    assert model.predictor.correlation.dtype == model.predictor.kernel.dtype == "float32"
    assert {str(v.dtype) for v in model.online.variables} == {"float32"}


def test_it_runs(traced):
    model, step, _ = traced
    images = np.random.default_rng(0).integers(0, 256, (8, *tiny_model.SHAPE), "uint8")
    for seed in range(2):
        loss = step(tf.constant(images), tf.constant(seed))["loss"]
    assert np.isfinite(loss) and int(model.optimizer.iterations) == 2
    assert all(np.isfinite(v.numpy()).all() for v in model.variables)
