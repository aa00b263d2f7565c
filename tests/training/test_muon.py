import torch

from training.muon import Muon, orthogonal


def test_every_direction_of_a_matrix_comes_to_about_the_same_size():
    torch.manual_seed(0)
    for shape in ((2, 6, 6), (2, 4, 9), (2, 9, 4)):
        found = orthogonal(torch.randn(shape), 5)
        sizes = torch.linalg.svdvals(found)
        assert found.shape == shape and sizes.min() > 0.3 and sizes.max() < 1.3
        assert torch.equal(orthogonal(torch.zeros(shape), 5), torch.zeros(shape))


def test_a_step_goes_down_by_the_rate_and_matrices_of_a_shape_move_as_each_alone_would():
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(4, 6)) for _ in range(3)]
    gradients = [torch.randn(4, 6) for _ in weights]
    alone = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    before = [weight.detach().clone() for weight in weights]
    together = Muon(weights, lr=0.01, weight_decay=0.5)
    single = [Muon([weight], lr=0.01, weight_decay=0.5) for weight in alone]
    for _ in range(2):
        for optimizer, some in [(together, weights), *zip(single, [[weight] for weight in alone], strict=True)]:
            for weight in some:
                place = next(n for n, each in enumerate([*weights, *alone]) if each is weight) % 3
                weight.grad = gradients[place].clone()
            optimizer.step()
    for weight, same, first, gradient in zip(weights, alone, before, gradients, strict=True):
        assert torch.allclose(weight, same, atol=1e-6)
        moved = weight - first * (1 - 0.01 * 0.5) ** 2
        assert (moved * gradient).sum() < 0
        assert 0.5 < moved.square().mean().sqrt() / (2 * 0.01 * 0.2) < 1.5  # about the size of AdamW's two updates
