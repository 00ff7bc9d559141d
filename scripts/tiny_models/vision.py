"""Pretrain tiny-vit, a vision transformer, on masked patches and on classifying images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForMaskedImageModeling
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from scripts.tiny_models import images
from scripts.tiny_models.cards import card
from scripts.tiny_models.training import Loss, Outcome, Recipe, make_deterministic, pretrain, save

NAME = "tiny-vit"
PATCH = 4
RECIPE = Recipe(steps=2500, learning_rate=1.5e-3, batch_size=32)
IMAGES = 12_000
MASKED = 0.5
NO_LABEL = -100


def build_config() -> ViTConfig:
    """Return ViT's settings for 32 x 32 pixels, at an eighth of the base model's width."""
    return ViTConfig(
        image_size=images.SIZE,
        patch_size=PATCH,
        encoder_stride=PATCH,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
    )


class Objectives(nn.Module):
    """The objectives: masked patches, and from the [CLS] token the kind or rotation of an image.

    Generated images are classified by kind, and digits by rotation; neither needs a label of the
    data set. The heads of the two classifications are not saved.
    """

    def __init__(self, model: ViTForMaskedImageModeling) -> None:
        super().__init__()
        self.model = model
        self.kind = nn.Linear(model.config.hidden_size, len(images.PAINTERS))
        self.turn = nn.Linear(model.config.hidden_size, 4)

    def forward(self, pixels: Tensor, hidden: Tensor, kinds: Tensor, turns: Tensor) -> Loss:
        """Return the summed loss of (n, 3, 32, 32) pixels with (n, 64) hidden patches."""
        painted = self.model(pixel_values=pixels, bool_masked_pos=hidden, output_hidden_states=True)
        first = self.model.vit.layernorm(painted.hidden_states[-1][:, 0])
        kind = nn.functional.cross_entropy(self.kind(first), kinds, ignore_index=NO_LABEL)
        turn = nn.functional.cross_entropy(self.turn(first), turns, ignore_index=NO_LABEL)
        return Loss(painted.loss + 0.2 * (kind + turn))


def normalized(pixels: Tensor) -> Tensor:
    """Map uint8 images to [-1, 1], as the saved processor does."""
    return pixels.float() / 127.5 - 1


def hidden_patches(count: int, generator: torch.Generator) -> Tensor:
    """Return a (count, 64) mask that hides half of each image's patches."""
    patches = (images.SIZE // PATCH) ** 2
    order = torch.rand(count, patches, generator=generator).argsort(dim=1)
    return order < int(MASKED * patches)


def draw_batches(seed: int, size: int, pool: int) -> Iterator[dict[str, Tensor]]:
    """Yield batches endlessly, half generated images and half digits in random rotations."""
    generator = torch.Generator().manual_seed(seed)
    shapes, kinds = images.generated(pool, seed)
    digits = images.digits(pool, seed)
    half = size // 2
    while True:
        some = torch.randint(pool, (half,), generator=generator)
        turns = torch.randint(4, (half,), generator=generator)
        others = digits[torch.randint(pool, (half,), generator=generator)]
        pairs = zip(others, turns.tolist(), strict=True)
        turned = torch.stack([torch.rot90(image, turn, (1, 2)) for image, turn in pairs])
        unasked = torch.full((half,), NO_LABEL)
        yield {
            "pixels": normalized(torch.cat((shapes[some], turned))),
            "hidden": hidden_patches(2 * half, generator),
            "kinds": torch.cat((kinds[some], unasked)),
            "turns": torch.cat((unasked, turns)),
        }


def make(folder: Path, seed: int, steps: int | None = None) -> Outcome:
    """Pretrain the vision transformer and write model, processor and card into `folder`."""
    make_deterministic(seed)
    recipe = RECIPE if steps is None else Recipe(steps, RECIPE.learning_rate, RECIPE.batch_size)
    model = ViTForMaskedImageModeling(build_config())
    pool = min(IMAGES, recipe.steps * recipe.batch_size)
    fresh = next(draw_batches(seed + 1, 512, 512))

    def measure() -> float:
        with torch.no_grad():
            shown = {"pixel_values": fresh["pixels"], "bool_masked_pos": fresh["hidden"]}
            return model.eval()(**shown).loss.item()

    batches = draw_batches(seed, recipe.batch_size, pool)
    outcome = pretrain(Objectives(model), batches, recipe, measure, NAME)
    size = {"height": images.SIZE, "width": images.SIZE}
    ViTImageProcessorPil(size=size).save_pretrained(folder)
    save(model, folder, card(NAME, model, outcome, seed))
    return outcome
