"""The exact state of a training run on disk."""

import re

import tensorflow as tf

# Keras numbers unnamed layers by how many the process has made: that is no part of a model.
_AUTO_NUMBER = re.compile(r"_\d+(?=/|_|$)")


class Checkpoint:
    """Every variable of a compiled model, its optimizer and its metrics: what bit-equal resuming needs.

    Args:
        model: a compiled `keras.Model`.
        folder: where checkpoints lie, of which the newest two are kept; None: nothing is read or written, as
            by workers that follow a chief.
    """

    def __init__(self, model, folder):
        # model.variables, not weights: the state of random layers (dropout) is in the former only.
        groups = {
            "model": model.variables,
            "optimizer": model.optimizer.variables,
            "metrics": [v for metric in model.metrics for v in metric.variables],
        }
        self.variables = [v for variables in groups.values() for v in variables]
        # Numbered, since two layers may share a name; named, so that an error can be read.
        state = {
            f"{group}/{i:04d}/{_AUTO_NUMBER.sub('', v.path)}": _own_value(v, model.distribute_strategy)
            for group, variables in groups.items()
            for i, v in enumerate(variables)
        }
        self.model, self._checkpoint = model, tf.train.Checkpoint(**{"state": state})
        self._manager = folder and tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=2)

    def save(self):
        """Writes the state under the number of the optimizer's step, once: writing over a file is not safe."""
        if self._manager is None:
            return
        newest = self._manager.latest_checkpoint
        if newest is None or not newest.endswith(f"-{self.step()}"):
            self._manager.save(checkpoint_number=self.step())

    def restore(self):
        """Reads the newest checkpoint; whether there was one.

        Raises:
            ValueError: it cannot be read, or is of another model.
        """
        newest = self._manager and self._manager.latest_checkpoint
        if newest is None:
            return False
        try:
            status = self._checkpoint.read(newest).assert_existing_objects_matched()
            status.expect_partial()  # the manager's own counter is of no use here: no warning about it
        except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
            reason = str(error).strip().splitlines()[0].split(". ")[0]
            raise ValueError(f"The checkpoint {newest} cannot be read into this model: {reason}") from error
        return True

    def step(self):
        """The optimizer's step."""
        return int(self.model.optimizer.iterations.numpy())


def _own_value(variable, strategy):
    """The variable as this process can read it alone: a metric's, summed when read, would need all workers to."""
    value = variable.value
    summed = getattr(value, "synchronization", None) == tf.VariableSynchronization.ON_READ
    return strategy.experimental_local_results(value)[0] if summed else value
