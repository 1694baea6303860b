"""What a representation is worth: features of a labelled set, k-NN, linear probe, spectrum."""
