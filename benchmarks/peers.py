"""Images a second of BYOL with ResNet-18 on 32 x 32 images: this library, and PyTorch with lightly's modules.

    python benchmarks/peers.py --peers=ENVIRONMENT/bin/python     -> a section of benchmarks/SPEED.md; about two minutes

The environment has the extra `bench`. Both start from the same weights; parameters and losses of the first step must
agree.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import speed

BATCH = 64
END_TO_END_BAR, BARE_BAR = 1.3, 1.0
HEADS = {"hidden1": "layers.0", "hidden1_bn": "layers.1", "output": "layers.3"}
PREDICTOR = {"expand": "layers.0", "norm": "layers.1", "reduce": "layers.3"}
TORCH_WORDS = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def in_torch(variable):
    """A variable's name and value there."""
    *_, layer, kind = variable.path.split("/")
    value = variable.numpy()
    if kind == "kernel":
        value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
    if layer in HEADS:
        place = f"projection_head.{HEADS[layer]}"
    elif layer in PREDICTOR:
        place = f"prediction_head.{PREDICTOR[layer]}"
    else:
        place = "backbone." + re.sub(r"stem_(conv|bn)", r"\g<1>1", layer)
        place = re.sub(r"stage(\d)_block(\d)_", lambda m: f"layer{m[1]}.{int(m[2]) - 1}.", place)
        place = place.replace("shortcut_conv", "downsample.0").replace("shortcut_bn", "downsample.1")
    return f"{place}.{TORCH_WORDS[kind]}", np.ascontiguousarray(value)


def our_model():
    import keras

    from tf_directpred import NonContrastive
    from tf_directpred.networks import ENCODERS, PROJECTORS
    from tf_directpred.optim import SGD

    keras.utils.set_random_seed(0)
    encoder = ENCODERS.create("resnet18(stem='cifar')", input_shape=(None, None, 3))
    projector = PROJECTORS.create("mlp(hidden=(4096,), output=256, norm='affine', bias=False)", input_dim=512)
    predictor = "mlp(hidden=4096, bias=False, affine=True, init='torch')"
    model = NonContrastive(encoder, projector, predictor, loss="cosine(scale=0.5)")  # lightly's: -cos a direction
    model.compile(SGD(0.03, weight_decay=4e-4))
    model.make_train_function()
    return model


class Peer:
    """The PyTorch program, which takes a step when told to."""

    def __init__(self, interpreter, arrays):
        program = pathlib.Path(__file__).with_name("peers_torch.py")
        self.process = subprocess.Popen(
            [interpreter, program, arrays], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = json.loads(self.process.stdout.readline())

    def ask(self, word):
        print(word, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def main(interpreter, rounds):
    import tensorflow as tf

    from tf_directpred.data import SOURCES, view_batches

    source, model = SOURCES.create("digits(clutter=True)"), our_model()
    stream = iter(view_batches(source, "simclr_cifar", BATCH, seed=0))
    fixed = next(stream)
    images, _ = source.splits["train"].arrays()
    repeat = iter(tf.data.Dataset.from_tensors(fixed).repeat())
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "arrays.npz"
        weights = dict(map(in_torch, [*model.online.variables, *model.predictor.variables]))
        np.savez(file, images=images, **{name: x.numpy() for name, x in fixed.items()}, **weights)
        peer = Peer(interpreter, file)
    loss = float(model.train_function(repeat)["loss"])
    ways = {
        "ours, end to end": lambda: model.train_function(stream),
        "lightly's modules, DataLoader with 2 workers": lambda: peer.ask("loader"),
        "ours, batch in memory": lambda: model.train_function(repeat),
        "PyTorch, batch in memory": lambda: peer.ask("bare"),
        "PyTorch, batch in memory, channels_last": lambda: peer.ask("channels_last"),
    }
    seconds = speed.medians(ways, rounds, seconds=240.0)
    peer.process.stdin.close()
    peer.process.wait()
    ours, lightly, bare, *torch = seconds.values()
    end_to_end, alone = lightly / ours, min(torch) / bare
    rows = [[name, f"{s:.2f}", f"{BATCH / s:.1f}"] for name, s in seconds.items()]
    lines = [
        f"BYOL, ResNet-18 (CIFAR stem), heads 4096-256, batch {BATCH}, recipe simclr_cifar, float32.",
        "",
        *speed.table(["", "s a step", "images a second"], rows),
        "",
        f"- parameters: ours {parameters:,}, PyTorch {peer.first['parameters']:,}; loss of the first step from the same "
        f"weights: ours {loss:.5f}, PyTorch {peer.first['loss']:.5f}.",
        f"- end to end {end_to_end:.2f} x lightly. Bar: {END_TO_END_BAR}: {'met' if end_to_end >= END_TO_END_BAR else 'missed'}.",
        f"- batch in memory {alone:.2f} x the faster PyTorch. Bar: {BARE_BAR}: {'met' if alone >= BARE_BAR else 'missed'}.",
    ]
    speed.write("Beside PyTorch and lightly (`peers.py`)", lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="interpreter of an environment with the extra `bench`")
    main(parser.parse_args().peers, rounds=5)
