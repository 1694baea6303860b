"""From --strategy to a `tf.distribute.Strategy`: in bounded time, or with one line that says what is wrong."""

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import time

import tensorflow as tf


@functools.cache  # a second MirroredStrategy in one process breaks the collectives of the first
def connect(name, devices=None, tpu=None, wait=300.0):
    """The strategy that a run is built and trained under; call it before TensorFlow does anything else.

    Args:
        name: `"default"` (one device), `"mirrored"` (all devices of this machine), `"multi_worker"` (many machines,
            each told its place by the environment variable TF_CONFIG) or `"tpu"`.
        devices: of mirrored: how many GPUs; without GPUs, how many logical devices the CPU is divided into (for
            tests and laptops: they share its cores).
        tpu: address or name of the TPU; `"local"` on a TPU machine itself.
        wait: seconds to wait for other machines at the start.

    Raises:
        ValueError: there is no such device, TF_CONFIG is not right, or a machine does not answer.
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(_local_devices(devices))
    if name == "multi_worker":
        return _join_workers(wait)
    if name == "tpu":
        return _connect_tpu(tpu, wait)
    return tf.distribute.get_strategy()


def check_step(strategy, batch_size, accumulate, jit_compile):
    """Refuses what no step of this strategy can do.

    Raises:
        ValueError: the batch does not divide, or XLA would have to reach across the CPU's logical devices.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % (replicas * accumulate):
        raise ValueError(
            f"batch_size must be a multiple of {replicas * accumulate}: {replicas} replicas, accumulate={accumulate}. "
            f"Received: batch_size={batch_size}"
        )
    if jit_compile and replicas > 1 and "CPU" in strategy.extended.worker_devices[0]:
        raise ValueError("jit_compile does not work across CPU devices: leave it out, or use strategy=default")


def has_accelerator():
    """Whether steps run on a GPU or TPU; call it after `connect`."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def is_chief(strategy):
    """Whether this process is the one that writes: the only one, or the first of many workers."""
    if not spans_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if resolver.cluster_spec().as_dict().get("chief") else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def spans_workers(strategy):
    """Whether other processes train the same model."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


class WorkerLost(Exception):
    """Another worker is gone, and a step needs all of them."""


@contextlib.contextmanager
def watching_workers(strategy):
    """Says in one exception what TensorFlow says in many when another worker dies: `WorkerLost`."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if not spans_workers(strategy):
            raise
        raise WorkerLost(str(error).strip().splitlines()[0]) from error


def agree(strategy, number):
    """The largest of the workers' numbers; every worker must ask at the same step."""
    if not spans_workers(strategy):
        return number
    return int(tf.reduce_max(strategy.gather(tf.constant([number]), axis=0)))


def copy_from_chief(strategy, variables):
    """Gives every worker's replicas the values of the first, so that only the chief need read a checkpoint."""
    if not spans_workers(strategy):
        return

    @tf.function
    def copy():
        context = tf.distribute.get_replica_context()
        for variable in variables:
            own = tf.convert_to_tensor(variable)
            number = tf.cast(own, tf.int32) if own.dtype.is_bool else own
            number = tf.where(context.replica_id_in_sync_group == 0, number, tf.zeros_like(number))
            variable.assign(tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, number), own.dtype))

    strategy.run(copy)


def distributed(strategy, batches):
    """The batches of a run as `fit` takes them under a strategy: each worker makes its own part only.

    Args:
        strategy: of `connect`.
        batches: function of `part=(index, count)` -> tf.data.Dataset of that part of each global batch, a dict.
    """

    def of_worker(context):
        workers = context.num_input_pipelines
        own = batches(part=(context.input_pipeline_id, workers))
        replicas = context.num_replicas_in_sync // workers
        if replicas == 1:
            return own
        split = own.map(lambda batch: {name: tf.stack(tf.split(x, replicas)) for name, x in batch.items()})
        return split.unbatch().prefetch(replicas)

    return strategy.distribute_datasets_from_function(of_worker)


def _local_devices(count):
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count and count > len(gpus):
            raise ValueError(f"devices must be at most {len(gpus)}, the GPUs that there are. Received: devices={count}")
        return [f"GPU:{i}" for i in range(count or len(gpus))]
    if count is None:
        raise ValueError("strategy=mirrored found no GPU: --devices=2 divides the CPU into 2 logical devices")
    (cpu,) = tf.config.list_physical_devices("CPU")
    if len(tf.config.get_logical_device_configuration(cpu) or ()) != count:
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise ValueError(f"The CPU can be divided before TensorFlow's first operation only: {error}") from error
    return [f"CPU:{i}" for i in range(count)]


def _join_workers(wait):
    own, addresses = read_cluster(os.environ.get("TF_CONFIG"))
    meet(addresses, own, wait)
    # Should a worker that was there a moment ago die now, the constructor waits for a quarter of an hour, deaf to
    # Python's threads and signal handlers: the system's alarm ends the process.
    signal.alarm(int(wait) + 60)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        signal.alarm(0)


def read_cluster(text):
    """This worker's position and the addresses of all, the chief's first, from TF_CONFIG.

    Raises:
        ValueError: TF_CONFIG is missing or lacks something, which is named.
    """
    form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    if not text:
        raise ValueError(f"strategy=multi_worker needs the environment variable TF_CONFIG: {form}")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index, workers = task["type"], task["index"], cluster["worker"]
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG must be JSON, {form}. Received: {text!r} ({error})") from error
    except (KeyError, TypeError) as error:
        field = error.args[0] if isinstance(error, KeyError) else "an object where one is expected"
        raise ValueError(f"TF_CONFIG lacks {field}; it must read {form}. Received: {text}") from error
    unknown = sorted(set(cluster) - {"chief", "worker"})
    if unknown:
        raise ValueError(f"TF_CONFIG's cluster may hold chief and worker only. Received: {', '.join(unknown)}")
    tasks = [(k, i, address) for k in ("chief", "worker") for i, address in enumerate(cluster.get(k, ()))]
    addresses = [address for _, _, address in tasks]
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdigit():
            raise ValueError(f"TF_CONFIG's addresses must read host:port. Received: {address!r}")
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"TF_CONFIG gives two workers one address. Received: {', '.join(addresses)}")
    places = [place for place, (k, i, _) in enumerate(tasks) if (k, i) == (kind, index)]
    if not places:
        known = ", ".join(f"{k} {i}" for k, i, _ in tasks)
        raise ValueError(f"TF_CONFIG's task must be one of its cluster: {known}. Received: {kind} {index!r}")
    return places[0], addresses


def meet(addresses, own, wait):
    """Returns once every worker has reached every other, each listening where TensorFlow soon will.

    TensorFlow itself would wait for a missing worker for a quarter of an hour and more, and say nothing.

    Args:
        addresses: `host:port` of every worker.
        own: position of this worker.
        wait: seconds.

    Raises:
        ValueError: a worker did not answer, or this one's port cannot be used.
    """
    deadline = time.monotonic() + wait
    callers, to_call = set(), set(range(len(addresses))) - {own}
    with _listen(addresses[own], deadline) as server:
        while len(callers) < len(addresses) - 1 or to_call:
            to_call -= {peer for peer in to_call if _call(addresses[peer], own)}
            callers |= _answer(server)
            if time.monotonic() > deadline:
                silent = sorted(set(range(len(addresses))) - callers - {own} | to_call)
                names = ", ".join(f"worker {peer} ({addresses[peer]})" for peer in silent)
                raise ValueError(f"No answer from {names} within {wait:g} s: start all workers, or correct TF_CONFIG")


def _listen(address, deadline):
    port = int(address.rpartition(":")[2])
    while True:
        try:
            server = socket.create_server(("", port))
            server.settimeout(0.1)
            return server
        except OSError as error:  # a worker of an earlier run may still be on its way out
            if time.monotonic() > deadline:
                raise ValueError(f"This worker's port {port} cannot be used: {error.strerror}") from error
            time.sleep(0.5)


def _call(address, own):
    """Says who we are to another worker; whether it listens."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2) as connection:
            connection.sendall(b"worker %d\n" % own)
            return True
    except OSError:
        time.sleep(0.1)
        return False


def _answer(server):
    """Who has called since we last looked."""
    callers = set()
    try:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(2)
                words = connection.makefile().readline().split()
                if len(words) == 2 and words[0] == "worker" and words[1].isdigit():
                    callers.add(int(words[1]))
    except OSError:
        return callers


def _connect_tpu(address, wait):
    def give_up():
        print(f"tf_directpred: The TPU {address!r} does not answer within {wait:g} s", file=sys.stderr, flush=True)
        os._exit(2)  # TensorFlow waits for an address that is not there without end, and cannot be interrupted

    watchdog = threading.Timer(wait, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(address)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"The TPU {address!r} cannot be used: {reason}") from error
    finally:
        watchdog.cancel()
