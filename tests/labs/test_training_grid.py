"""A run of the recorded grid: the same run twice, a diverged one."""

import torch

from helpers.labs import training_grid

SETTING = (1e-2, 0.1, 64, 1)


def test_a_run_depends_on_its_setting_alone_and_keeps_what_it_had_where_it_is_stopped() -> None:
    torch.manual_seed(5)
    first = training_grid.train_once(*SETTING, n_tokens=20_480)
    again = training_grid.train_once(*SETTING, n_tokens=20_480)
    other = training_grid.train_once(*SETTING[:-1], 2, n_tokens=20_480)
    assert first == again != other and len(first) == 11 and first[-1] < first[0] - 0.3
    assert len(training_grid.train_once(3e30, 0.0, 64, 0, n_tokens=20_480)) == 1
