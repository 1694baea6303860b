"""Two neurons, two features and a trainable off-diagonal head: the exact population flow in nine scalars.

    F_j = f_j + E_jk f_k,  G_j = f_j,  f_j(X) = sum_p <w_j, X_p>^3;  L = 2 - E<BN(F), SG[BN(G)]>

A state is `[a11, a12, a21, a22, r1, r2, c, E12, E21]`: a_jl = <w_j, v_l>; with y_j = w_j off span{v},
r_j = ||y_j||^2 and c = <y_1, y_2>; E the head. Time is steps times the neurons' learning rate.

Reference: Wen & Li 2022; the flow follows for one feature a sample, balanced views, Gaussian noise.
"""

import numpy as np

from tf_directpred.theory.parameters import require

STATE = ("a11", "a12", "a21", "a22", "r1", "r2", "c", "E12", "E21")


def _feature_moments(params):
    """M_l = alpha_l^6 / 2, and E[n^2] of the number n of feature patches."""
    return [0.5 * strength**6 for strength in params.strength], params.feature_patches**2


def _statistics(y, params):
    """Moments of both neurons' outputs, as lists of two.

    u_jl = a_jl^3 + E_jk a_kl^3,  Y = 9 r1 r2 c + 6 c^3,  q = noise_patches sigma^6
    N_j = E[F_j G_j] = C sum_l M_l u_jl a_jl^3
    S_j = E[F_j^2]   = C sum_l M_l u_jl^2 + q (15 r_j^3 + 15 E_jk^2 r_k^3 + 2 E_jk Y)
    T_j = E[G_j^2]   = C sum_l M_l a_jl^6 + 15 q r_j^3
    """
    a11, a12, a21, a22, r1, r2, c, E12, E21 = y
    M, C = _feature_moments(params)
    q = params.noise_patches * params.sigma**6
    Y = 9 * r1 * r2 * c + 6 * c**3
    a, r, E = ((a11, a12), (a21, a22)), (r1, r2), (E12, E21)
    u, N, S, T = [], [], [], []
    for j, k in ((0, 1), (1, 0)):
        u.append([a[j][l] ** 3 + E[j] * a[k][l] ** 3 for l in (0, 1)])
        N.append(C * sum(M[l] * u[j][l] * a[j][l] ** 3 for l in (0, 1)))
        noise = q * (15 * r[j] ** 3 + 15 * E[j] ** 2 * r[k] ** 3 + 2 * E[j] * Y)
        S.append(C * sum(M[l] * u[j][l] ** 2 for l in (0, 1)) + noise)
        T.append(C * sum(M[l] * a[j][l] ** 6 for l in (0, 1)) + 15 * q * r[j] ** 3)
    return a, r, c, E, u, N, S, T, q, Y


def population_flow(t, y, params):
    """The gradient flow of the population loss L = 2 - rho_1 - rho_2.

        h = N/S, g = 1/sqrt(S T), k the other neuron, w_j = 1, w_k = E_kj
        da_jl/dt = sum_i g_i w_i 3 a_jl^2 C M_l (a_il^3 - h_i u_il)
        dE_jk/dt = head_rate g_j {C sum_l M_l a_kl^3 (a_jl^3 - h_j u_jl) - h_j q (15 E_jk r_k^3 + Y)}
        dr_j/dt  = 2 (A_j r_j + B c),  dc/dt = (A_1 + A_2) c + B (r_1 + r_2)
        A_j = -(g_j h_j dQ_j/dr_j + g_k h_k dQ_k/dr_j),  B = -1/2 sum_i g_i h_i dQ_i/dc

    Args:
        t: time; y: `(9,)`, in the order of `STATE`; params: `PatchModel`.

    Returns:
        dy/dt, `(9,)`.

    Reference: derived from Wen & Li 2022.
    """
    # Python floats: nine scalars are a third of the cost of nine small arrays.
    a, r, c, E, u, N, S, T, q, Y = _statistics(y.tolist(), params)
    M, C = _feature_moments(params)
    h = [N[i] / S[i] for i in (0, 1)]
    g = [(S[i] * T[i]) ** -0.5 for i in (0, 1)]
    B = -sum(g[i] * h[i] * q * E[i] * (9 * r[0] * r[1] + 18 * c**2) for i in (0, 1))
    da, dE, A = [], [], []
    for j, k in ((0, 1), (1, 0)):
        for l in (0, 1):
            pull = [g[i] * (a[i][l] ** 3 - h[i] * u[i][l]) for i in (j, k)]
            da.append(3 * a[j][l] ** 2 * C * M[l] * (pull[0] + E[k] * pull[1]))
        feature = C * sum(M[l] * a[k][l] ** 3 * (a[j][l] ** 3 - h[j] * u[j][l]) for l in (0, 1))
        dE.append(params.head_rate * g[j] * (feature - h[j] * q * (15 * E[j] * r[k] ** 3 + Y)))
        own = 45 * r[j] ** 2 + 18 * E[j] * r[k] * c
        other = 45 * E[k] ** 2 * r[j] ** 2 + 18 * E[k] * r[k] * c
        A.append(-q * (g[j] * h[j] * own + g[k] * h[k] * other))
    dr = [2 * (A[j] * r[j] + B * c) for j in (0, 1)]
    dc = (A[0] + A[1]) * c + B * (r[0] + r[1])
    return np.array([*da, *dr, dc, *dE])


def output_agreement(y, params):
    """`rho_j = N_j / sqrt(S_j T_j)`, the correlation of prediction and target; L = 2 - rho_1 - rho_2.

    Args:
        y: `(..., 9)`; params: `PatchModel`.

    Returns:
        `(..., 2)`.
    """
    *_, N, S, T, _, _ = _statistics(np.moveaxis(y, -1, 0), params)
    return np.stack([N[j] / np.sqrt(S[j] * T[j]) for j in (0, 1)], axis=-1)


def output_correlation(y, params):
    """`corr(f_1, f_2)`: 1 is dimensional collapse, both neurons say the same.

        [C sum_l M_l a_1l^3 a_2l^3 + q Y] / sqrt(T_1 T_2)

    Args:
        y: `(..., 9)`; params: `PatchModel`.

    Returns:
        `(...)`.
    """
    a, *_, T, q, Y = _statistics(np.moveaxis(y, -1, 0), params)
    M, C = _feature_moments(params)
    shared = C * sum(M[l] * a[0][l] ** 3 * a[1][l] ** 3 for l in (0, 1)) + q * Y
    return shared / np.sqrt(T[0] * T[1])


def squared_norms(y):
    """`||w_j||^2 = a_j1^2 + a_j2^2 + r_j`.

    Args:
        y: `(..., 9)`.

    Returns:
        `(..., 2)`.
    """
    a = y[..., :4].reshape(*y.shape[:-1], 2, 2)
    return (a**2).sum(axis=-1) + y[..., 4:6]


def cosines(y):
    """`|cos(w_j, v_l)| = |a_jl| / ||w_j||`.

    Args:
        y: `(..., 9)`.

    Returns:
        `(..., 2, 2)`: neuron, feature.
    """
    a = y[..., :4].reshape(*y.shape[:-1], 2, 2)
    return np.abs(a) / np.sqrt(squared_norms(y))[..., None]


def head_balance(y, params):
    """What the flow conserves: a head that grows takes norm from its neuron.

        ||w_1||^2 + (3 eta / eta_E)(E12^2 - E21^2),  ||w_2||^2 + (3 eta / eta_E)(E21^2 - E12^2)

    With a frozen head the norms themselves are conserved.

    Args:
        y: `(..., 9)`; params: `PatchModel`.

    Returns:
        `(..., 2)`.

    Reference: derived; the origin of |E21| = Theta(sqrt(eta_E / eta)) in Wen & Li 2022.
    """
    norms = squared_norms(y)
    if params.head_rate == 0:
        return norms
    difference = y[..., 7] ** 2 - y[..., 8] ** 2
    return norms + 3 / params.head_rate * np.stack([difference, -difference], axis=-1)


def head_bound(y0, params):
    """The largest |E21| that the balance allows while E12 ~ 0: `sqrt(eta_E / (3 eta)) ||w_2(0)||`.

    Args:
        y0: `(9,)`; params: `PatchModel`.

    Returns:
        A float.

    Reference: derived from `head_balance`.
    """
    return float(np.sqrt(params.head_rate / 3 * squared_norms(np.asarray(y0))[1]))


def demonstration_start():
    """A start in which neuron 1 is ahead on feature 1 and neuron 2 leans the same way.

    Returns:
        `(9,)`: a = (.20, .10; .12, .10), r = (1, 1), c = 0, E = 0.
    """
    return np.array([0.2, 0.1, 0.12, 0.1, 1.0, 1.0, 0.0, 0.0, 0.0])


def random_starts(count, dimension, seed):
    """Starts with Gaussian neurons, w_j ~ N(0, I/d), and an identity head.

    Args:
        count: how many; dimension: d, at least 3; seed: of the generator.

    Returns:
        `(count, 9)`.

    Raises:
        ValueError: the dimension leaves no room for noise.
    """
    require(dimension >= 3, "dimension", "be at least 3", dimension)
    w = np.random.default_rng(seed).standard_normal((count, 2, dimension)) / np.sqrt(dimension)
    a, off = w[..., :2], w[..., 2:]
    r, c = (off**2).sum(axis=-1), (off[:, 0] * off[:, 1]).sum(axis=-1)
    return np.concatenate([a.reshape(count, 4), r, c[:, None], np.zeros((count, 2))], axis=1)


def learns_both_features(y, cosine=0.8):
    """Whether each feature has a neuron of its own: `max_j |cos(w_j, v_l)| > cosine` for both l.

    Args:
        y: `(..., 9)`; cosine: above 1/sqrt(2), so that no neuron can hold both.

    Returns:
        `(...)` of booleans.
    """
    return (cosines(y).max(axis=-2) > cosine).all(axis=-1)


def distance_to_settled(y, params):
    """Above 0 until both features are learned and the loss is below 1e-3, from where the outcome is kept.

    Two neurons on one feature may also bring the loss down, but a slow head may part them much later.

    Args:
        y: `(9,)`; params: `PatchModel`.

    Returns:
        A float.
    """
    loss = 2 - output_agreement(y, params).sum()
    # Beyond the cosine that counts as learned: an integrator stops on the zero itself, give or take.
    return float(max(loss - 1e-3, 0.85 - cosines(y).max(axis=0).min()))
