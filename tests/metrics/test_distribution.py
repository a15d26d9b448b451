import pytest
import torch

from ganedit.metrics import frechet_distance, kernel_distance


def sample_with(mean, covariance, count, seed):
    """Rows whose sample mean and sample covariance are exactly the given ones."""
    x = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed)).double()
    x = x - x.mean(0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.mT)))
    return x @ whiten.mT @ torch.linalg.cholesky(covariance).mT + mean


def test_frechet_distance_of_diagonal_gaussians_has_its_closed_form():
    mean_a, mean_b = torch.tensor([0.0, 1, 2]).double(), torch.tensor([1.0, -1, 2.5]).double()
    std_a, std_b = torch.tensor([1.0, 2, 0.5]).double(), torch.tensor([0.1, 3, 0.7]).double()
    a = sample_with(mean_a, std_a.square().diag(), 50, 0)
    b = sample_with(mean_b, std_b.square().diag(), 70, 1)
    expected = (mean_a - mean_b).square().sum() + (std_a - std_b).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-10)


def test_frechet_distance_of_correlated_gaussians_uses_the_matrix_root():
    a_root = torch.randn(4, 4, generator=torch.Generator().manual_seed(2)).double()
    b_root = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)).double()
    a_cov, b_cov = a_root @ a_root.mT + torch.eye(4), b_root @ b_root.mT + torch.eye(4)
    a = sample_with(torch.zeros(4).double(), a_cov, 40, 0)
    b = sample_with(torch.zeros(4).double(), b_cov, 40, 1)
    # tr (A B)^(1/2) by another road: the eigenvalues of the unsymmetric product.
    cross = torch.linalg.eigvals(a_cov @ b_cov).real.sqrt().sum()
    expected = a_cov.trace() + b_cov.trace() - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_distance_of_a_set_with_itself_is_zero_even_if_singular():
    x = torch.randn(10, 64, generator=torch.Generator().manual_seed(0))  # rank 9 of 64
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(x, x + 1) == pytest.approx(64, rel=1e-4)


def test_frechet_distance_is_symmetric():
    a = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    b = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)) * 2 + 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_kernel_distance_is_small_for_one_distribution_and_large_for_two():
    a = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    b = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    same = kernel_distance(a, b, subsets=10, subset_size=100)
    other = kernel_distance(a, b + 1, subsets=10, subset_size=100)
    assert abs(same) < 0.1
    assert other > 10 * abs(same)
    # The unbiased estimate, written out for sets that are taken whole.
    k = lambda x, y: (x.double() @ y.double().T / 8 + 1) ** 3  # noqa: E731  # the paper's k
    off = ~torch.eye(300, dtype=torch.bool)
    expected = k(a, a)[off].mean() + k(b, b)[off].mean() - 2 * k(a, b).mean()
    whole = kernel_distance(a, b, subsets=1, subset_size=1000)
    assert whole == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3)),
        (torch.zeros(5, 3), torch.zeros(5, 4)),
        (torch.zeros(5), torch.zeros(5, 3)),
        (torch.full((5, 3), float("nan")), torch.zeros(5, 3)),
    ],
)
def test_features_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match=r"expected|finite"):
        frechet_distance(a, b)
