"""The measuring passes, one file each, which register themselves.

How to add a pass: write `passes/NAME.py` with a subclass of `Pass`, decorated with
`@PASSES.register("name")`, that has

- `order`, its place among the passes;
- `expected(context)`: every number the pass measures, as `Expected(model, metric, axes)`, for every model of
  `context.models`, refused ones too. Declare the axes once, in a function that `expected` and `run` both use. A number
  that depends on other models (a teacher) names them in `needs`; one that depends on a runtime names that;
- `weight(context)`: about how many seconds it takes, for the progress;
- `run(context)`: measure the models that can be measured (`context.ready` or `context.measurable`) with jobs of
  `kdbench.worker.jobs` through `context.runner`, and return `Findings`. A model that fails is a `Failure` in
  `Findings.failures`, and the others continue.

Metrics are declared in `kdbench.results.metrics`. A pass states no reason for a
missing number that a refusal or a `Failure` explains: the harness compares what was expected with what was measured
and adds the rest (`kdbench.measure.harness`). The parts of a large pass have a folder in
`kdbench.measure`, such as `latency/`.

May import everything that `kdbench.measure` may, but not the harness.
"""
