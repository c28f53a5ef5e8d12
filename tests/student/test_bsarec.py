import pytest
import torch

from src.student.bsarec import FilteredBlock
from tests.student.students import histories, student

L, W = 12, 4


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_alpha_is_the_share_of_the_filter(alpha):
    torch.manual_seed(0)
    block = FilteredBlock(8, 2, 0.0, "absolute", L, alpha, W)
    x = torch.randn(2, L, 8)
    attended = super(FilteredBlock, block).mix(x)
    torch.testing.assert_close(block.mix(x), alpha * block.filter(x) + (1 - alpha) * attended)


def test_a_kept_student_has_no_weights_of_the_fixed_filter():
    assert not [name for name in student("bsarec").state_dict() if name.endswith("filter.weights")]
    assert student("bsarec").predict(histories()).shape == (4, 15)
