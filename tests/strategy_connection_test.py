"""Strategies are connected in bounded time, or refused with what is wrong."""

import json
import socket
import threading
import time

import pytest
import tensorflow as tf

from tf_directpred import distribution
from tf_directpred.config import Config

GOOD = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def free_addresses(count):
    servers = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return addresses


def test_cluster_is_read_with_the_chief_first():
    assert distribution.read_cluster(json.dumps(GOOD)) == (1, ["a:1", "b:2"])
    chief = {"cluster": {"worker": ["a:1"], "chief": ["c:3"]}, "task": {"type": "worker", "index": 0}}
    assert distribution.read_cluster(json.dumps(chief)) == (1, ["c:3", "a:1"])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c.pop("task"), "lacks task"),
        (lambda c: c.pop("cluster"), "lacks cluster"),
        (lambda c: c["task"].pop("index"), "lacks index"),
        (lambda c: c["task"].pop("type"), "lacks type"),
        (lambda c: c["cluster"].pop("worker"), "lacks worker"),
        (lambda c: c.update(task=3), "lacks an object"),
        (lambda c: c["task"].update(index=2), "one of its cluster: worker 0, worker 1. Received: worker 2"),
        (lambda c: c["task"].update(index="1"), "Received: worker '1'"),
        (lambda c: c["task"].update(type="ps"), "Received: ps 1"),
        (lambda c: c["cluster"].update(ps=["d:1"]), "chief and worker only. Received: ps"),
        (lambda c: c["cluster"].update(worker=["a", "b:2"]), "host:port. Received: 'a'"),
        (lambda c: c["cluster"].update(worker=["b:2", "b:2"]), "one address"),
    ],
)
def test_a_wrong_cluster_is_refused(change, words):
    config = json.loads(json.dumps(GOOD))
    change(config)
    with pytest.raises(ValueError, match=words) as error:
        distribution.read_cluster(json.dumps(config))
    assert "\n" not in str(error.value)


def test_no_cluster_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG"):
        distribution.connect("multi_worker")
    with pytest.raises(ValueError, match="must be JSON"):
        distribution.read_cluster("{")


def test_workers_meet_whoever_comes_first():
    addresses, met = free_addresses(3), []

    def come(own, delay):
        time.sleep(delay)
        distribution.meet(addresses, own, wait=60)
        met.append(own)

    threads = [threading.Thread(target=come, args=(own, 0.4 * own)) for own in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
    assert sorted(met) == [0, 1, 2]


def test_a_missing_worker_is_named():
    addresses = free_addresses(2)
    with pytest.raises(ValueError, match=rf"No answer from worker 1 \({addresses[1]}\) within 0.5 s"):
        distribution.meet(addresses, 0, wait=0.5)


def test_a_listener_that_is_no_worker_is_not_taken_for_one():
    with socket.create_server(("localhost", 0)) as stranger:
        addresses = [*free_addresses(1), f"localhost:{stranger.getsockname()[1]}"]
        with pytest.raises(ValueError, match="No answer from worker 1"):
            distribution.meet(addresses, 0, wait=0.5)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"This worker's port {port} cannot be used"):
            distribution.meet([f"localhost:{port}", "localhost:1"], 0, wait=0.2)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="has GPUs to mirror on")
def test_mirrored_without_gpus_asks_for_devices():
    with pytest.raises(ValueError, match="--devices=2 divides the CPU"):
        distribution.connect("mirrored")
    tf.zeros(()).numpy()
    with pytest.raises(ValueError, match="before TensorFlow's first operation"):
        distribution.connect("mirrored", devices=7)


def test_default_is_one_device_and_the_chief():
    strategy = distribution.connect("default")
    assert strategy.num_replicas_in_sync == 1 and distribution.is_chief(strategy)
    assert distribution.agree(strategy, 15) == 15


def test_a_batch_must_divide():
    strategy = tf.distribute.get_strategy()
    distribution.check_step(strategy, 12, 3, jit_compile=True)
    with pytest.raises(ValueError, match="multiple of 5: 1 replicas, accumulate=5. Received: batch_size=12"):
        distribution.check_step(strategy, 12, 5, jit_compile=False)


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"devices": 2}, "devices needs strategy=mirrored"),
        ({"tpu": "local"}, "tpu needs strategy=tpu"),
        ({"strategy": "tpu"}, "--tpu=ADDRESS"),
        ({"strategy": "mirror"}, "strategy must be one of default, mirrored, multi_worker, tpu"),
        ({"strategy": "mirrored", "devices": 0}, "devices must be positive"),
        ({"accumulate": 0}, "accumulate must be positive"),
    ],
)
def test_flags_that_do_not_go_together(flags, words):
    with pytest.raises(ValueError, match=words):
        Config(run_dir="runs/x", **flags)
