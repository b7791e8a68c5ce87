"""Where bf16 trains faster than float32 on a CPU, and whether `precision = "auto"` chooses the faster one.

    pytest benchmarks/bench_precision.py --benchmark-columns=min,median,rounds

Each row is a training step at one precision; the row of bf16 holds the speed-up and the choice of "auto" in
`extra_info`. On a CPU without bf16 in hardware everything is skipped.
"""

import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.distill.training.devices import autocast, computes_bf16, resolved
from kdbench.recipe import Training

CPU = torch.device("cpu")
CASES = [
    ("resnet20", 32, 128),
    ("vgg11_bn", 32, 128),
    ("mobilenetv2_x0_75", 32, 32),
    ("mobilenetv2_x0_75", 32, 128),
    ("torchvision/mobilenet_v3_small", 32, 128),
    ("torchvision/mobilenet_v3_small", 96, 128),
    ("torchvision/shufflenet_v2_x1_0", 32, 128),
    ("torchvision/mnasnet0_5", 64, 128),
    ("torchvision/efficientnet_b0", 64, 128),
]
# A wrong choice may cost this share of a step: near the threshold the two precisions are equally fast.
TOLERANCE = 0.15


@pytest.fixture(scope="module")
def seconds() -> dict[tuple[str, int, int], float]:
    """Return the seconds of the fastest step in float32, by case; the tests in float32 fill it in."""
    return {}


@pytest.mark.skipif(not computes_bf16(CPU), reason="this CPU does not multiply bf16 in hardware")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_step(benchmark, seconds, case, precision):
    name, size, batch = case
    network = models.build(name, (3, size, size), 100).to(memory_format=torch.channels_last).train()
    inputs = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (batch,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def step() -> None:
        with autocast(CPU, precision):
            loss = nn.functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    benchmark.pedantic(step, rounds=6, warmup_rounds=2)
    if precision == "32":
        seconds[case] = benchmark.stats.stats.min
        return
    speedup = seconds[case] / benchmark.stats.stats.min
    chosen = resolved(Training(device="cpu", batch=batch), network, inputs[:1]).precision
    benchmark.extra_info |= {"speedup": speedup, "auto": chosen}
    assert (speedup if chosen == "bf16" else 1 / speedup) > 1 - TOLERANCE, (speedup, chosen)
