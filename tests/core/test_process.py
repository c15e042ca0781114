"""The settings of a process."""

import torch

from metarl.core.process import prepare_process


def test_a_prepared_process_has_one_intra_op_thread() -> None:
    torch.set_num_threads(2)
    try:
        prepare_process.__wrapped__()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_preparing_twice_does_nothing_more() -> None:
    prepare_process()
    torch.set_num_threads(2)
    try:
        prepare_process()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
