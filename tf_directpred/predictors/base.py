"""What a predictor is: a layer whose `call` predicts and whose `update` may refit it."""

import keras

from tf_directpred.registry import Registry

PREDICTORS = Registry("predictor")


class Predictor(keras.layers.Layer):
    """Base class of predictors: projection (B, d) -> prediction of the target's projection (B, d).

    `call(z, training)` never changes state. `update` runs once per optimizer step, after it. A trained
    predictor needs no `update`; one with a constraint restores it there; one in closed form
    (`ClosedFormPredictor`) recomputes its kernel.
    """

    def update(self, online, target):
        """Called once after each optimizer step.

        Args:
            online: tuple of projections (B, d), one for each direction of the loss.
            target: tuple of target projections; `target[i]` is what `online[i]` predicts.
        """

    def compute_output_shape(self, input_shape):
        return input_shape
