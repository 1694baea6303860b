"""One frozen dataclass <-> flat absl flags <-> a flagfile."""

import dataclasses
import math
import typing

from absl import flags

_NOT_REPLAYED = ("mode", "run_dir", "resume", "overwrite", "profile")


def _flag(default, help, choices=None, valid=None):
    """A field with its help, and its allowed values: a tuple of choices or a (test, words) pair."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "valid": valid})


_POSITIVE = (lambda x: 0 < x < math.inf, "positive and finite")
_NOT_NEGATIVE = (lambda x: 0 <= x < math.inf, "0 or more, and finite")
_SEED = (lambda x: 0 <= x < 2**32, "in [0, 2**32)")
_UNIT = (lambda x: 0 <= x <= 1, "in [0, 1]")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on; a field is a flag of the same name.

    Raises:
        ValueError: a value out of range, with what was received and what is allowed.
    """

    mode: str = _flag("train", "What to do.", choices=("train", "evaluate", "linear", "export", "theory"))
    run_dir: str = _flag("", "The run's folder: all that a run reads later or leaves behind.")
    resume: bool = _flag(False, "Continue the unfinished run of the same flags in run_dir, if there is one.")
    overwrite: bool = _flag(False, "Replace the run in run_dir.")

    dataset: str = _flag("digits(clutter=True)", "Spec of the images to train on: digits, tfds or folder.")
    data_dir: typing.Optional[str] = _flag(None, "Where the data lie: tfds data, or the folder of --dataset=folder.")
    eval_dataset: typing.Optional[str] = _flag(None, "Spec of a labelled set to evaluate on, if another one.")
    augment: typing.Optional[str] = _flag(None, "Augmentation recipe of the views; default: the data set's own.")
    augment_on: str = _flag(
        "auto", "Make the views on the host, ahead of the step, or on the device, in it; auto: device on GPU and TPU.",
        choices=("auto", "host", "device"),
    )

    encoder: str = _flag("convnet", "Spec of the encoder.")
    projector: str = _flag("mlp(hidden=(256,), output=64, output_norm='plain')", "Spec of the projector.")
    predictor: str = _flag("directpred", "Spec of the predictor.")
    loss: str = _flag("cosine", "Spec of the loss of one direction.")
    symmetrize: bool = _flag(True, "Sum both directions of the loss.")
    stop_gradient: bool = _flag(True, "Stop the gradient at the target; false needs --target=none.")
    target: str = _flag("ema", "Moving average of the online network, or none (SimSiam).", choices=("ema", "none"))
    target_init: str = _flag("copy", "Where the target starts.", choices=("copy", "random"))
    target_momentum: float = _flag(0.996, "Weight of the past in the target (tau).", valid=_UNIT)
    target_momentum_schedule: str = _flag("constant", "cosine: tau rises to 1.", choices=("constant", "cosine"))

    optimizer: str = _flag("sgd(momentum=0.9)", "Spec of the optimizer, without rate and decay.")
    predictor_optimizer: typing.Optional[str] = _flag(
        None, "Spec of the predictor's own optimizer; its learning_rate (constant) and weight_decay default to the flags'."
    )
    learning_rate: float = _flag(0.03, "Peak learning rate, used as given.", valid=_POSITIVE)
    scale_learning_rate: bool = _flag(False, "Multiply the rate by batch_size / 256.")
    learning_rate_schedule: str = _flag("constant", "After the warm-up.", choices=("constant", "cosine"))
    warmup_epochs: float = _flag(0.0, "Epochs of linear warm-up from 0.", valid=_NOT_NEGATIVE)
    weight_decay: float = _flag(4e-4, "L2 in the gradient.", valid=_NOT_NEGATIVE)
    batch_size: int = _flag(128, "Images a step, over all devices.", valid=_POSITIVE)
    epochs: int = _flag(100, "Passes over the training images.", valid=_POSITIVE)
    steps: typing.Optional[int] = _flag(None, "Stop after so many steps at the latest.", valid=_POSITIVE)
    seed: int = _flag(0, "Of weights, batches and augmentation.", valid=_SEED)

    strategy: str = _flag(
        "default", "Devices to train on: one, all of this machine, many machines (TF_CONFIG), or a TPU.",
        choices=("default", "mirrored", "multi_worker", "tpu"),
    )
    devices: typing.Optional[int] = _flag(
        None, "Of mirrored: how many GPUs (default: all), or without GPUs how many logical devices of the CPU.",
        valid=_POSITIVE,
    )
    tpu: typing.Optional[str] = _flag(None, "Address or name of the TPU; local on a TPU machine.")
    connect_seconds: float = _flag(300.0, "How long to wait for other workers or the TPU.", valid=_POSITIVE)
    sync_batch_norm: bool = _flag(True, "Batch statistics over all replicas, not over each one's part.")
    accumulate: int = _flag(1, "Micro-batches a step: a replica's part is taken in so many slices.", valid=_POSITIVE)
    mixed_precision: str = _flag(
        "float32", "Keras's dtype policy.", choices=("float32", "mixed_bfloat16", "mixed_float16")
    )
    jit_compile: bool = _flag(False, "Compile the step with XLA.")
    steps_per_execution: int = _flag(
        1, "Steps that TensorFlow takes before Python looks again; they must divide an epoch.", valid=_POSITIVE
    )
    rematerialize: bool = _flag(False, "Hold few of the encoder's activations, compute the others twice.")

    knn_every: int = _flag(0, "Show the k-NN accuracy every so many epochs; 0: never.", valid=_NOT_NEGATIVE)
    tensorboard: bool = _flag(False, "Write TensorBoard events beside history.csv.")
    profile: typing.Optional[str] = _flag(
        None, "START:STOP: a TensorBoard profile of steps START (the first is 0) to STOP, which is left out."
    )
    checkpoint_minutes: float = _flag(10.0, "Minutes between checkpoints; 0: every step.", valid=_NOT_NEGATIVE)
    eval_examples: typing.Optional[int] = _flag(
        None, "Train and test images of every probe, at most (seeded, class-balanced).", valid=_POSITIVE
    )
    probe_epochs: int = _flag(50, "Epochs of the linear probe, and of mode=linear.", valid=_POSITIVE)
    linear_rates: str = _flag(
        "0.4,0.3,0.2,0.1,0.05", "Of mode=linear: rates (times batch / 256) to train side by side."
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, choices, valid = getattr(self, field.name), field.metadata["choices"], field.metadata["valid"]
            if choices and value not in choices:
                raise ValueError(f"{field.name} must be one of {', '.join(choices)}. Received: {field.name}={value}")
            if valid and value is not None and not valid[0](value):
                raise ValueError(f"{field.name} must be {valid[1]}. Received: {field.name}={value}")
        if not self.run_dir:
            raise ValueError("run_dir must name a folder: --run_dir=runs/NAME")
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite exclude each other: continue the run, or replace it")
        if self.target == "ema" and not self.stop_gradient:
            raise ValueError("stop_gradient=false needs target=none. Received: target=ema")
        for flag, strategy in (("devices", "mirrored"), ("tpu", "tpu")):
            if getattr(self, flag) is not None and self.strategy != strategy:
                raise ValueError(f"{flag} needs strategy={strategy}. Received: strategy={self.strategy}")
        if self.strategy == "tpu" and not self.tpu:
            raise ValueError("strategy=tpu needs the TPU's address: --tpu=ADDRESS (local on a TPU machine)")
        self.rates()
        self.profiled_steps()

    def rates(self):
        """`linear_rates` as numbers."""
        try:
            rates = [float(word) for word in self.linear_rates.split(",")]
        except ValueError:
            rates = [0.0]
        if not all(0 < rate < math.inf for rate in rates):
            raise ValueError(f"linear_rates must be positive numbers, as 0.4,0.1. Received: {self.linear_rates}")
        return rates

    def profiled_steps(self):
        """`profile` as a range of steps; an empty one where there is none."""
        start, _, stop = (self.profile or "0:0").partition(":")
        numbers = [int(word) if word.isascii() and word.isdigit() else -1 for word in (start, stop)]
        if self.profile is not None and not 0 <= numbers[0] < numbers[1]:
            raise ValueError(f"profile must be START:STOP with 0 <= START < STOP. Received: profile={self.profile}")
        return range(*numbers)

    def flagfile(self):
        """The run as a flagfile's text: `--flagfile=FILE --run_dir=ELSEWHERE` replays it."""
        lines = [_line(f.name, getattr(self, f.name)) for f in dataclasses.fields(self) if f.name not in _NOT_REPLAYED]
        return "\n".join(line for line in lines if line) + "\n"


def _line(name, value):
    if value is None:
        return None
    return f"--{name}={str(value).lower() if isinstance(value, bool) else value}"


def define_flags():
    """Defines one absl flag for each field of `Config`."""
    define = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool}
    for field in dataclasses.fields(Config):
        kind = next(iter(set(typing.get_args(field.type)) - {type(None)}), field.type)
        words = f" One of: {', '.join(field.metadata['choices'])}." if field.metadata["choices"] else ""
        define[kind](field.name, field.default, field.metadata["help"] + words)


def from_flags():
    """The `Config` of the parsed flags."""
    return Config(**{field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)})
