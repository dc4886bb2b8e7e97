"""Student-t quantile and incomplete beta against SciPy; intervals and paired differences by hand."""

import numpy as np
import pytest
from scipy import special, stats

from dnnsched._native import _base


@pytest.mark.parametrize("df", [1, 1.5, 2, 3, 4, 9, 29, 100, 1e4, 1e7])
@pytest.mark.parametrize("p", [1e-12, 1e-4, 0.025, 0.3, 0.5, 0.6, 0.9, 0.975, 0.995, 1 - 1e-9])
def test_student_quantile_equals_scipy(p, df):
    assert _base.student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-10, abs=1e-300)


def test_betainc_equals_scipy():
    rng = np.random.default_rng(3)
    for _ in range(400):
        a, b = 10 ** rng.uniform(-2, 4, 2)
        x = rng.uniform()
        assert _base.betainc(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-290)


def test_bad_arguments_name_the_argument():
    with pytest.raises(ValueError, match=r"p: expected a value in \(0, 1\), got 1"):
        _base.student_t_quantile(1.0, 5)
    with pytest.raises(ValueError, match="df: expected"):
        _base.student_t_quantile(0.9, 0.5)
    with pytest.raises(ValueError, match="x: expected"):
        _base.betainc(1.0, 1.0, float("nan"))
    with pytest.raises(TypeError, match="student_t_quantile: expected 2 to 2 arguments, got 1"):
        _base.student_t_quantile(0.5)
