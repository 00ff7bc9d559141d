"""Derivatives of rotations are right, and the layout of the inputs does not change the result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from goft_cli.rotation import rotate, rotate_transposed

Draw = Callable[..., Tensor]
Apply = Callable[[Tensor, Tensor], Tensor]

both_directions = pytest.mark.parametrize("apply", [rotate, rotate_transposed])
both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])


def leaves(draw: Draw, kind: str, dim: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), draw(kind, dim).requires_grad_()


@both_directions
@both_kinds
@pytest.mark.parametrize("dim", [1, 2, 5, 8])
def test_first_and_second_derivatives(apply: Apply, kind: str, dim: int, draw: Draw) -> None:
    inputs = leaves(draw, kind, dim, count=2)
    assert gradcheck(apply, inputs)
    assert gradgradcheck(apply, inputs)


@both_kinds
@pytest.mark.parametrize("dim", [1, 2, 5, 8])
def test_derivatives_with_a_scale(kind: str, dim: int, draw: Draw) -> None:
    x, rotation = leaves(draw, kind, dim, count=3)
    scale = draw("strict", dim + 1, seed=5).requires_grad_()

    def apply(x: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
        return rotate_transposed(x, rotation, scale=scale)

    assert torch.equal(apply(x, rotation, scale), rotate_transposed(x, rotation) * scale)
    assert gradcheck(apply, (x, rotation, scale))
    assert gradgradcheck(apply, (x, rotation, scale))
    total = apply(x, rotation, scale).sum()
    everything = torch.autograd.grad(total, (x, rotation, scale), allow_unused=dim == 1)
    frozen = x.detach(), rotation.detach()
    (alone,) = torch.autograd.grad(apply(*frozen, scale).sum(), scale)
    assert torch.equal(alone, everything[2])


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    dim=st.sampled_from([1, 2, 7, 64]),
    kind=st.sampled_from(["strict", "quasi"]),
)
def test_leading_dimensions_are_a_batch(shape: list[int], dim: int, kind: str, draw: Draw) -> None:
    x, rotation = torch.randn(*shape, dim), draw(kind, dim).float()
    for apply in (rotate, rotate_transposed):
        assert torch.equal(apply(x, rotation), apply(x.view(-1, dim), rotation).view(x.shape))


@both_directions
@both_kinds
def test_no_vectors_still_give_gradients(apply: Apply, kind: str, draw: Draw) -> None:
    x, rotation = leaves(draw, kind, 64, count=0)
    apply(x, rotation).sum().backward()
    assert rotation.grad is not None
    assert not rotation.grad.any()


@both_directions
@pytest.mark.parametrize("count", [3, 200])
def test_strides_do_not_matter(apply: Apply, count: int, draw: Draw) -> None:
    rotation = draw("strict", 64).float()
    wide = torch.randn(64, 2 * count)
    layouts = [wide.T[::2], wide.flip(0).T[:count], torch.randn(64).expand(count, 64)]
    for x in layouts:
        assert not x.is_contiguous()
        assert torch.equal(apply(x, rotation), apply(x.contiguous(), rotation))


@both_directions
@pytest.mark.parametrize("count", [3, 200])
def test_autocast_does_not_change_the_result(apply: Apply, count: int, draw: Draw) -> None:
    x, rotation = torch.randn(count, 64), draw("quasi", 64).float()
    expected = apply(x, rotation)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply(x, rotation), expected)


@both_directions
def test_shapes_can_be_inferred_without_data(apply: Apply) -> None:
    x, rotation = torch.empty(200, 768, device="meta"), torch.empty(767, device="meta")
    assert apply(x, rotation).shape == x.shape


@both_directions
@both_kinds
def test_torch_func_gives_the_gradient_of_each_vector(apply: Apply, kind: str, draw: Draw) -> None:
    x, rotation = leaves(draw, kind, 12, count=3)

    def loss(rotation: Tensor, one: Tensor) -> Tensor:
        return apply(one, rotation).pow(3).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(rotation, x)
    for found, one in zip(each, x, strict=True):
        torch.testing.assert_close(found, torch.autograd.grad(loss(rotation, one), rotation)[0])


@both_directions
@both_kinds
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_forward_mode_gives_the_derivative_along_a_direction(
    apply: Apply, kind: str, gradients: bool, draw: Draw
) -> None:
    """Without gradients the result had no tangent, as if it depended on nothing."""
    given = [one.detach().float() for one in leaves(draw, kind, 12, count=3)]
    along = [torch.randn_like(one) for one in given]
    expected = torch.func.jvp(apply, tuple(given), tuple(along))[1]
    with torch.set_grad_enabled(gradients), forward_ad.dual_level():
        duals = [forward_ad.make_dual(*one) for one in zip(given, along, strict=True)]
        found = forward_ad.unpack_dual(apply(*duals)).tangent
    assert found is not None
    torch.testing.assert_close(found, expected)
