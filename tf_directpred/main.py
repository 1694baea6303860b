"""`python -m tf_directpred.main --flagfile=configs/NAME.cfg --run_dir=RUN [--flag=value ...]`"""

import contextlib
import functools
import os
import signal
import sys
import tempfile

# Before the first import of TensorFlow: its C++ notes would bury our output (its errors reach Python as exceptions
# all the same), and on CPUs without AVX-512 it leaves oneDNN off, which costs a ResNet-18 step 1.7 times its time.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from absl import app, flags, logging  # noqa: E402

from tf_directpred import config as configuration  # noqa: E402
from tf_directpred.run_folder import RunFolder  # noqa: E402

BAD_INPUT = 2
WORKER_LOST = 3


@contextlib.contextmanager
def quiet_import():
    """Holds back what TensorFlow's C++ side writes while it is imported, before its log level applies."""
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(console, held.read())
            raise
        finally:
            os.dup2(console, 2)
            os.close(console)


def run(argv):
    """Runs the mode that the flags name; returns the process's exit code."""
    config = configuration.from_flags()
    folder = RunFolder(config.run_dir)
    if config.mode == "train":
        return _train(config, folder)
    if config.mode == "theory":
        return _theory(config, folder)
    folder.require()
    with quiet_import():
        from tf_directpred.train import Experiment, restored
    experiment = Experiment(config)
    model = restored(experiment, folder)
    if config.mode == "evaluate":
        folder.write_metrics(_evaluate(experiment, model))
    elif config.mode == "linear":
        folder.write_metrics(_linear(experiment, model))
    else:
        _export(experiment, model, folder)
    return 0


def _train(config, folder):
    with quiet_import():
        from tf_directpred import distribution
        from tf_directpred.train import Experiment, Interrupted, train

    # First: TensorFlow's devices and connections are settled before its first operation, or not at all.
    strategy = distribution.connect(config.strategy, config.devices, config.tpu, config.connect_seconds)
    chief = distribution.is_chief(strategy)
    experiment = Experiment(config, strategy)
    try:
        with strategy.scope(), distribution.watching_workers(strategy):
            model = experiment.model()
        if chief:
            # Only now: nothing is claimed, let alone replaced, for flags that cannot be.
            folder.claim(config.flagfile(), resume=config.resume, overwrite=config.overwrite)
        numbers = train(experiment, model, folder)
    except distribution.WorkerLost as error:
        advice = "start all of them again with --resume"
        print(f"tf_directpred: another worker is gone ({error}); {advice}", file=sys.stderr)
        return WORKER_LOST
    except Interrupted as stop:
        print(f"\ninterrupted at step {stop.step}; the same command with --resume continues", flush=True)
        return 128 + stop.number
    if not chief:
        return 0
    _export(experiment, model, folder)
    # Last: metrics.json marks a run as finished.
    folder.write_metrics({**numbers, **_evaluate(experiment, model)})
    return 0


def _theory(config, folder):
    folder.claim(config.flagfile(), overwrite=config.overwrite)
    with quiet_import():
        from tf_directpred.theory.report import write_report
        from tf_directpred.theory_check import compare
    page = write_report(folder.path, progress=functools.partial(print, flush=True), training=compare())
    print(f"wrote {page}")
    return 0


def _evaluate(experiment, model):
    from tf_directpred.evaluate import evaluate, table

    metrics = evaluate(experiment, model)
    if metrics is None:
        print(f"no evaluation: {experiment.evaluation_source.name} has no labels (--eval_dataset names a set that has)")
        return {}
    print(table(metrics), flush=True)
    return metrics


def _linear(experiment, model):
    from tf_directpred.linear_evaluation import linear_evaluation, table

    metrics = linear_evaluation(experiment, model)
    print(table(metrics), flush=True)
    return metrics


def _export(experiment, model, folder):
    from tf_directpred.export import export

    recipe = experiment.recipe
    export(model.encoder, folder.path, {"mean": recipe.mean, "std": recipe.std}, experiment.source.image_shape)
    print(f"exported {folder.path / 'encoder'} and {folder.path / 'encoder.keras'}", flush=True)


def parse(argv):
    """Parses the flags; evaluate and export start from the flags of the run that they are about.

    Raises:
        flags.Error: an unknown flag or a value of the wrong kind.
        ValueError: a stray argument.
    """
    rest = flags.FLAGS(argv, known_only=False)
    if len(rest) > 1:
        raise ValueError(f"Flags only, as --name=value. Received: {' '.join(rest[1:])}")
    replayed = RunFolder(flags.FLAGS.run_dir).flags
    if flags.FLAGS.mode in ("evaluate", "linear", "export") and replayed.is_file():
        flags.FLAGS([argv[0], f"--flagfile={replayed}", *argv[1:]])
    return argv[:1]


def guarded(step):
    """Turns what the user got wrong into one line and exit code 2."""

    def call(argv):
        try:
            return step(argv)
        except (flags.Error, ValueError) as error:
            if os.environ.get("TF_DIRECTPRED_DEBUG"):
                raise
            print(f"tf_directpred: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(BAD_INPUT)

    return call


def main():
    """Entry point of the command line."""
    configuration.define_flags()
    logging.set_verbosity(logging.ERROR)  # TensorFlow's notes on saving and tracing are not ours to pass on
    # A signal before or after training ends the program at once; while it trains, the state is saved first.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        app.run(guarded(run), flags_parser=guarded(parse))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
