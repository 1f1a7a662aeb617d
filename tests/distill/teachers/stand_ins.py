"""Small stand-ins for published teachers, stored as those are."""

from pathlib import Path

import pytest
import tomli_w
import torch
from torch import Tensor, nn
from torch.nn import functional

from wsi.atomic import digest


class DarkParts(nn.Module):
    """Stands in for InstanSeg: numbers the connected dark parts."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Parameter(torch.tensor(0.45))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) scaled pixels to (B, 1, H, W) numbers."""
        dark = (x.mean(1, keepdim=True) < self.below).float()
        numbers = torch.arange(1, dark.numel() + 1, device=x.device).float().view(dark.shape) * dark
        for _ in range(40):
            numbers = functional.max_pool2d(numbers, 3, 1, 1) * dark
        return numbers


def write_script(path: Path, module: nn.Module) -> None:
    with pytest.warns(FutureWarning):  # torch would rather have it exported
        scripted = torch.jit.script(module)
    with pytest.warns(FutureWarning):
        torch.jit.save(scripted, str(path))


def write_teacher(folder: Path, of: str, file: Path, **more: object) -> Path:
    card = {"kind": of, "weights": file.name, "sha256": digest(file), "licence": "none"}
    (folder / "teacher.toml").write_text(tomli_w.dumps(card | more))
    return folder
