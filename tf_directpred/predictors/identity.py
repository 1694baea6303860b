"""No predictor: SimCLR, and the collapse that Tian et al. 2021 (Theorem 2) predict without one."""

import keras

from tf_directpred.predictors.base import PREDICTORS, Predictor


@PREDICTORS.register("identity")
@keras.saving.register_keras_serializable("tf_directpred")
class IdentityPredictor(Predictor):
    """Predicts the projection itself: `p = z`."""

    def call(self, z, training=False):
        return z
