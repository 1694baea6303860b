"""Constants of the models, checked once when they are put together."""

import dataclasses

import numpy as np


def require(holds, name, rule, value):
    """Raises a ValueError that names the parameter, the rule and the value received.

    Args:
        holds: whether the rule holds; False for NaN.
        name: the parameter.
        rule: what it must do, e.g. `"lie in [0, 1]"`.
        value: what was received.
    """
    if not holds:
        raise ValueError(f"{name} must {rule}. Received: {name}={value}")


def require_nonnegative(name, value):
    """Raises a ValueError unless every entry of `value` is finite and at least 0."""
    array = np.asarray(value, dtype=float)
    require(np.all((array >= 0) & np.isfinite(array)), name, "be finite and at least 0", value)


def require_positive(name, value):
    """Raises a ValueError unless every entry of `value` is finite and above 0."""
    array = np.asarray(value, dtype=float)
    require(np.all((array > 0) & np.isfinite(array)), name, "be finite and above 0", value)


def require_unit_interval(name, value):
    """Raises a ValueError unless `value` lies in [0, 1]."""
    require(0 <= value <= 1, name, "lie in [0, 1]", value)


def require_symmetric(name, matrix):
    """Raises a ValueError unless `matrix` is square, finite and symmetric to 1e-8 of its largest entry.

    Args:
        name: the matrix, as the message names it.
        matrix: array `(..., n, n)`.
    """
    square = matrix.ndim >= 2 and matrix.shape[-1] == matrix.shape[-2]
    require(square, name, "be square", f"array of shape {matrix.shape}")
    asymmetry = np.abs(matrix - matrix.swapaxes(-1, -2)).max()
    holds = asymmetry <= 1e-8 * np.abs(matrix).max()
    require(holds, name, "be symmetric and finite", f"matrix with max |{name} - {name}^T| = {asymmetry:.3g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsotropicModel:
    """Constants of the symmetrised and of the decoupled dynamics.

        X = I, X' = sigma2 I, W_a = tau W

    Args:
        sigma2: augmentation variance, at least 0.
        tau: target over online weights, in [0, 1]; the fields with an EMA carry tau in their state instead.
        eta: weight decay, at least 0.
        alpha_p: learning rate of the predictor over that of the encoder, above 0.
        beta: rate of the exponential moving average over the learning rate, at least 0.

    Raises:
        ValueError: a constant is out of range.

    Reference: Tian et al. 2021, Assumptions 1-3.
    """

    sigma2: float
    tau: float = 1.0
    eta: float = 0.0
    alpha_p: float = 1.0
    beta: float = 0.0

    def __post_init__(self):
        require_nonnegative("sigma2", self.sigma2)
        require_unit_interval("tau", self.tau)
        require_nonnegative("eta", self.eta)
        require_positive("alpha_p", self.alpha_p)
        require_nonnegative("beta", self.beta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearNetwork:
    """Constants of the linear network f = W x with predictor W_p and target W_a.

        X  = E_x[xbar xbar^T],  xbar(x) = E[x' | x]
        X' = E_x[Cov(x' | x)]

    Args:
        X: `(n1, n1)` correlation of the mean view; symmetric, positive semi-definite.
        X_prime: `(n1, n1)` mean covariance of the views; symmetric, positive semi-definite.
        eta: weight decay, at least 0.
        alpha_p: learning rate of the predictor over that of the encoder, above 0.
        beta: rate of the exponential moving average over the learning rate, at least 0.

    Raises:
        ValueError: a constant is out of range, or the matrices do not fit.

    Reference: Tian et al. 2021, Section 3.
    """

    X: np.ndarray
    X_prime: np.ndarray
    eta: float = 0.0
    alpha_p: float = 1.0
    beta: float = 0.0

    def __post_init__(self):
        for name in ("X", "X_prime"):
            matrix = np.asarray(getattr(self, name), dtype=float)
            require_symmetric(name, matrix)
            lowest = np.linalg.eigvalsh(matrix)[0]
            # Moments of finitely many samples may leave a rounding error below zero.
            holds = lowest >= -1e-8 * np.abs(matrix).max()
            require(holds, name, "be positive semi-definite", f"matrix with eigenvalue {lowest:.3g}")
            object.__setattr__(self, name, matrix)
        fits = self.X.shape == self.X_prime.shape
        require(
            fits, "X_prime", f"have the shape of X, {self.X.shape}", f"array of shape {self.X_prime.shape}"
        )
        require_nonnegative("eta", self.eta)
        require_positive("alpha_p", self.alpha_p)
        require_nonnegative("beta", self.beta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClosedFormNetwork:
    """Constants of a linear network whose predictor is a function of the correlation matrix F.

        W_p = U diag(s^exponent + epsilon max_k s_k) U^T  for  F = U diag(s) U^T

    Args:
        X, X_prime: as in `LinearNetwork`.
        eta: weight decay, at least 0.
        tau: target over online weights, in [0, 1].
        exponent: power of F, above 0: 1/2 is DirectPred, 1 is DirectCopy.
        epsilon: lift of every mode in units of the largest eigenvalue, at least 0.
        augmented: whether F is taken of the views, W (X + X') W^T, and not of their mean, W X W^T.

    Raises:
        ValueError: a constant is out of range, or the matrices do not fit.

    Reference: Tian et al. 2021, eq. 18; Wang et al. 2021 (DirectSet).
    """

    X: np.ndarray
    X_prime: np.ndarray
    eta: float = 0.0
    tau: float = 1.0
    exponent: float = 0.5
    epsilon: float = 0.0
    augmented: bool = False

    def __post_init__(self):
        network = LinearNetwork(X=self.X, X_prime=self.X_prime, eta=self.eta)
        object.__setattr__(self, "X", network.X)
        object.__setattr__(self, "X_prime", network.X_prime)
        require_unit_interval("tau", self.tau)
        require_positive("exponent", self.exponent)
        require_nonnegative("epsilon", self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndependentFeatures:
    """Constants of a closed-form predictor on features that do not mix.

        X = diag(data_variance), X' = diag(sigma2), W = diag(w)

    Args:
        sigma2: augmentation variance of each feature, scalar or `(m,)`, at least 0.
        data_variance: variance of each feature, scalar or `(m,)`, above 0.
        eta: weight decay, at least 0.
        tau: target over online weights, in [0, 1].
        exponent: power of F that is the predictor, above 0.

    Raises:
        ValueError: a constant is out of range.

    Reference: Wang et al. 2021 (DirectSet).
    """

    sigma2: np.ndarray
    data_variance: np.ndarray = 1.0
    eta: float = 0.0
    tau: float = 1.0
    exponent: float = 0.5

    def __post_init__(self):
        require_nonnegative("sigma2", self.sigma2)
        require_positive("data_variance", self.data_variance)
        object.__setattr__(self, "sigma2", np.asarray(self.sigma2, dtype=float))
        object.__setattr__(self, "data_variance", np.asarray(self.data_variance, dtype=float))
        require_nonnegative("eta", self.eta)
        require_unit_interval("tau", self.tau)
        require_positive("exponent", self.exponent)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchModel:
    """Constants of the two-feature, two-neuron model with a trainable off-diagonal head.

    A sample shows one of two orthonormal features, each with probability 1/2 and a random sign, in
    `feature_patches` patches of each view; `noise_patches` further patches of a view are Gaussian noise
    orthogonal to both features. The two views share the feature and its sign, and no patch.

    Args:
        strength: `(alpha_1, alpha_2)`, the length of each feature, above 0.
        sigma: standard deviation of the noise, above 0.
        feature_patches: patches of a view that show the feature, at least 1.
        noise_patches: noise patches of a view, at least 1.
        head_rate: eta_E / eta, learning rate of the head over that of the neurons, at least 0.

    Raises:
        ValueError: a constant is out of range.

    Reference: Wen & Li 2022; balanced views, cubic activation.
    """

    strength: tuple = (3.0, 2.0)
    sigma: float = 1.0
    feature_patches: int = 2
    noise_patches: int = 6
    head_rate: float = 0.0

    def __post_init__(self):
        require(len(self.strength) == 2, "strength", "name two features", self.strength)
        require_positive("strength", self.strength)
        require_positive("sigma", self.sigma)
        for name in ("feature_patches", "noise_patches"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, name, "be an integer of at least 1", value)
        require_nonnegative("head_rate", self.head_rate)
