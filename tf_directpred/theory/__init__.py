"""The theory of non-contrastive learning, computed and drawn: NumPy, SciPy and matplotlib, never TensorFlow.

parameters        validated constants of each model
dynamics          fields f(t, y, params), named after their equations, and their invariants
equilibria        fixed points, stability, critical weight decays, collapse criteria
integrate         trajectories, the separatrix, thresholds by bisection
prediction_head   two neurons with a trainable off-diagonal head: population flow; patch_sgd trains it
portraits         the figures
report            `write_report(run_dir)`: every figure and a page that explains them
"""
