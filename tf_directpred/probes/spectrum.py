"""The spectrum of a representation, and how a predictor's eigenvectors lie to it."""

import numpy as np


def feature_std(features):
    """Standard deviation of the l2-normalised features over examples, averaged over dimensions.

    About 1 / sqrt(D) where they fill the sphere, 0 after complete collapse. Blind to dimensional collapse:
    see `effective_rank`.

    Args:
        features: (N, D).

    Reference:
        Chen and He, "Exploring simple Siamese representation learning", CVPR 2021, section 4.1.
    """
    features = np.asarray(features, "float64")
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return float(np.mean(np.std(features / norms, axis=0)))


def effective_rank(features):
    """RankMe: how many directions the features use.

        p = s / sum s,   rank = exp(-sum p log p),   s the singular values of the uncentred features

    Args:
        features: (N, D); it is at most min(N, D), so N should be well above D.

    Returns:
        A number in [1, min(N, D)]; 0 where all features are zero.

    Reference:
        Garrido et al., "RankMe", ICML 2023, equation 1.
    """
    singular = np.linalg.svd(np.asarray(features, "float64"), compute_uv=False)
    total = singular.sum()
    if total == 0.0:
        return 0.0
    p = singular[singular > 0.0] / total
    return float(np.exp(-np.sum(p * np.log(p))))


def correlation_eigenvalues(features):
    """Eigenvalues of F = E[f f^T], uncentred, in descending order.

    Args:
        features: (N, D).

    Returns:
        (D,) float64, none below 0.
    """
    features = np.asarray(features, "float64")
    eigenvalues = np.linalg.eigvalsh(features.T @ features / len(features))
    return np.maximum(eigenvalues[::-1], 0.0)


def eigenspace_alignment(correlation, predictor):
    """Cosine between W_p v_j and v_j for every eigenvector v_j of F.

        cosine_j = v_j^T W_p v_j / |W_p v_j|

    All are 1 where W_p shares F's eigenvectors with positive eigenvalues; 0 where W_p v_j = 0.

    Args:
        correlation: F, (D, D), symmetric.
        predictor: W_p, (D, D), acting on columns: prediction = W_p f.

    Returns:
        (D,) float64 in [-1, 1], in the order of F's descending eigenvalues.

    Reference:
        Tian et al., "Understanding self-supervised learning dynamics without contrastive pairs", ICML 2021,
        section 4 and figure 3.
    """
    predictor = np.asarray(predictor, "float64")
    vectors = np.linalg.eigh(np.asarray(correlation, "float64"))[1][:, ::-1]
    moved = predictor @ vectors
    norms = np.linalg.norm(moved, axis=0)
    # The direction of a vector that is zero but for rounding means nothing.
    zero = norms <= 1e-14 * np.linalg.norm(predictor)
    return np.where(zero, 0.0, np.sum(vectors * moved, axis=0)) / np.where(zero, 1.0, norms)


def normalized_commutator(correlation, predictor):
    """How far F and W_p are from commuting.

        |F W_p - W_p F| / (|F| |W_p|),   Frobenius norms

    Args:
        correlation: F, (D, D).
        predictor: W_p, (D, D).

    Returns:
        0 where they share their eigenvectors, at most sqrt(2); 0 where either is zero.
    """
    f, w = np.asarray(correlation, "float64"), np.asarray(predictor, "float64")
    scale = np.linalg.norm(f) * np.linalg.norm(w)
    return float(np.linalg.norm(f @ w - w @ f) / scale) if scale > 0.0 else 0.0
