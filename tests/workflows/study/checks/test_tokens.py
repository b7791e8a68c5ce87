"""Token ids that a network does not know are found before anything is trained."""

import numpy as np
import pytest
from torch import nn

from kdbench.data.dataset import Dataset, Split
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.check import check
from kdbench.workflows.study import run_data
from kdbench.workflows.study.plan import plan


class Words(nn.Module):
    def __init__(self, num_classes, rows=8):
        super().__init__()
        self.embed, self.head = nn.Embedding(rows, 4), nn.Linear(4, num_classes)

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(dim=1))


@pytest.mark.parametrize("part", [0, 1])
def test_a_token_that_the_network_does_not_know_is_found_in_any_part(monkeypatch, part):
    labels = np.arange(60, dtype=np.int64) % 3
    tokens = [np.ones((60, 5), np.int64) for _ in range(2)]
    tokens[part][50, 2] = 8  # not among the first samples
    dataset = Dataset("words", ("a", "b", "c"), *(Split(images, labels) for images in tokens), (), (), "made up")
    monkeypatch.setattr(run_data.data, "load", lambda *_, **__: dataset)

    def run(rows):
        model = {"name": f"{__name__}:Words", "rows": rows}
        content = {"name": "tiny", "data": {"name": "words"}, "teacher": {"name": "t", "model": model}, "student": []}
        recipe = recipe_from(content)
        check(plan(recipe), run_data.load_run_data(recipe))

    with pytest.raises(InputError, match="t fails on a sample with the token id 8: IndexError") as caught:
        run(8)
    assert "9 rows" in caught.value.hint
    run(9)
