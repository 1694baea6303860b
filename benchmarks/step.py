"""What a training step is made of, and how far the whole of it is from the encoder's forward and backward pass.

    python benchmarks/step.py          -> a section of benchmarks/SPEED.md; about three minutes on two cores

The images are the cluttered digits (32 x 32 RGB, in memory), so nothing is downloaded.
"""

import dataclasses
import pathlib

import speed

ROOT = pathlib.Path(__file__).parent.parent
NETWORKS = {
    "ResNet-18, batch 64": ("directpred_cifar10.cfg", {"batch_size": 64}, 1),
    "ResNet-18 of width 16, batch 128": (
        "directpred_cifar10.cfg", {"batch_size": 128, "encoder": "resnet18(stem='cifar', width=16)"}, 2
    ),
    "demo encoder, batch 64": ("directpred_digits.cfg", {"batch_size": 64}, 20),
}
STEP_BAR, PREDICTOR_BAR = 1.10, 0.01
# The floor: everything that a gradient of the loss needs, on a batch that lies in memory.
FLOOR = "**forward and backward: loss and gradients**"
WHOLE = "**whole step, input included**"


def configuration(flagfile, changes):
    """The `Config` of a flagfile on the cluttered digits."""
    from absl import flags

    from tf_directpred import config

    if "mode" not in flags.FLAGS:
        config.define_flags()
    for field in dataclasses.fields(config.Config):
        flags.FLAGS[field.name].unparse()
    flags.FLAGS(["step", f"--flagfile={ROOT / 'configs' / flagfile}", "--run_dir=none"])
    return dataclasses.replace(config.from_flags(), dataset="digits(clutter=True)", **changes)


def parts(experiment, steps):
    """Dict of name -> function that takes so many steps of a part."""
    import tensorflow as tf

    from tf_directpred.data import augment, normalize, view_batches

    config, model = experiment.config, experiment.model()
    batch = config.batch_size
    images, _ = experiment.source.splits["train"].arrays()
    stream = iter(view_batches(experiment.source, experiment.recipe, batch, config.seed))
    fixed = next(stream)
    x1, x2 = fixed["view1"], fixed["view2"]
    weights = model.trainable_variables
    gradients = [0.0 * tf.convert_to_tensor(w) for w in weights]
    online = target = (model.online(x1), model.online(x2))

    def loss_and_gradients():
        with tf.GradientTape() as tape:
            loss, _, _ = model._predict_across(x1, x2, training=True)
        return tape.gradient(loss, weights)

    def without_target():
        with tf.GradientTape() as tape:
            z1, z2 = (model.predictor(model.online(x, training=True), training=True) for x in (x1, x2))
            loss = tf.reduce_sum(model.loss_fn(z1, target[0], z1) + model.loss_fn(z2, target[1], z2))
        return tape.gradient(loss, weights)

    functions = {
        FLOOR: loss_and_gradients,
        "of these without the target's two passes": without_target,
        "whole step on the batch in memory": lambda: model.train_step(fixed),
        "optimizer": lambda: model.optimizer.apply_gradients(zip(gradients, weights)),
        "target's average": lambda: model._update_target(0.99),
        "predictor update": lambda: model.predictor.update(online, target),
        "metrics and checks": lambda: (model._logs(model._checked(tf.constant(1.0))), model._views(fixed)),
    }
    model.make_train_function()
    augmented = tf.function(lambda: [augment(images[:batch], experiment.recipe, (0, v)) for v in (0, 1)], jit_compile=True)
    ways = {WHOLE: lambda: model.train_function(stream), "augmentation alone": augmented}
    ways["input: taking a batch that was made meanwhile"] = lambda: next(stream)
    ways |= {name: compiled(function) for name, function in functions.items()}
    return {name: repeated(way, steps) for name, way in ways.items()}


def compiled(function):
    """The function in a graph, which returns its results: TensorFlow leaves out what is not asked for."""
    import tensorflow as tf

    return tf.function(lambda: [r for r in tf.nest.flatten(function()) if r is not None])


def repeated(way, steps):
    def run():
        for _ in range(steps):
            way()

    return run


def predictor_updates(sides=(128, 256)):
    """Seconds of an update at each d, by both solvers."""
    import tensorflow as tf

    from tf_directpred.predictors import PREDICTORS

    ways = {}
    for d in sides:
        z = tf.random.stateless_normal((64, d), (0, 1))
        for solver in ("eigh", "newton_schulz"):
            predictor = PREDICTORS.create(f"directpred(solver={solver!r})")
            predictor.build((None, d))
            ways[solver, d] = compiled(lambda predictor=predictor, z=z: predictor.update((z, z), (z, z)))
    return speed.medians(ways, rounds=20, seconds=5.0)


def main(rounds, seconds):
    from tf_directpred.train import Experiment

    columns = {}
    for name, (flagfile, changes, steps) in NETWORKS.items():
        times = speed.medians(parts(Experiment(configuration(flagfile, changes)), steps), rounds, seconds)
        columns[name] = {part: 1000 * value / steps for part, value in times.items()}
        print(name, {part: round(value, 2) for part, value in columns[name].items()}, flush=True)
    rows = [
        [part, *(f"{column[part]:,.2f} ({column[part] / column[FLOOR]:.1%})" for column in columns.values())]
        for part in next(iter(columns.values()))
    ]
    lines = [
        "Milliseconds a step (and share of the floor, the line \"forward and backward\": both online passes, both target",
        "passes, the loss and its gradients on a batch that lies in memory; there is no loss without the target's passes).",
        "",
        *speed.table(["", *columns], rows),
        "",
    ]
    for name, column in columns.items():
        ratio = column[WHOLE] / column[FLOOR]
        bar = f" Bar for ResNet-18: {STEP_BAR:.2f}: {'met' if ratio <= STEP_BAR else 'missed'}."
        lines.append(f"- {name}: whole step {ratio:.3f} x the floor.{bar if name == next(iter(columns)) else ''}")
    floor = columns[next(iter(columns))][FLOOR] / 1000
    for (solver, d), value in predictor_updates().items():
        verdict = "met" if value <= PREDICTOR_BAR * floor else "missed"
        bar = f"Bar: {PREDICTOR_BAR:.0%}: {verdict}." if solver == "eigh" else "(For steps that XLA compiles.)"
        lines.append(
            f"- predictor update, {solver}, d = {d}: {1000 * value:.2f} ms, {value / floor:.2%} of the ResNet-18 floor. {bar}"
        )
    speed.write("The step, part by part (`step.py`)", lines)


if __name__ == "__main__":
    main(rounds=5, seconds=60.0)
