"""The implementation of `pytest --benchmark`: models measured once per session, limits checked, a summary.

`fixture` is the object that a test gets; `model`, `metric_check`, `comparison` and `regression` are its checks;
`context` is the state that a test shares with its session; `records` measures. Only `kdbench.pytest_plugin` imports
this folder. pytest loads `settings`, `benchmarks` and `check_results` in every project of the environment, so they
import very little; the rest is loaded when a test uses the fixture `kdbench`.
"""
