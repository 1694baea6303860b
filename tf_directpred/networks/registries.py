"""The tables of encoders and projectors that --encoder and --projector choose from."""

from tf_directpred.registry import Registry

ENCODERS = Registry("encoder")
PROJECTORS = Registry("projector")
