"""Analysis of predictions: accuracy, calibration, fidelity to a teacher, mismatches, risks, effects of wrong labels.

Pure functions from predictions and labels to measurements. May import `results` and `statistics`; `measure` and
`workflows` import it. Running models to get the predictions is a pass of `kdbench.measure`.
"""
