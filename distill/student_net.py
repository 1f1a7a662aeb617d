"""A student under training: nuclei maps from all of its features, their appearance from the last.

What nuclei maps need, features of fine strides know, and a decoder takes it from there. The
coarsest features, of which an embedding is the average, would have next to nothing to learn. So
they alone have to say, by one linear layer, how many nuclei there are and what they look like:
what is linear in the features is linear in their average too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.appearance import APPEARANCE
from distill.nuclei_net import NucleiNet


class StudentNet(nn.Module):
    """A `NucleiNet` and what its coarsest features say of the nuclei around them.

    Attributes
    ----------
    nuclei
        The network without the layer that is only needed for training.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.nuclei = NucleiNet(backbone)
        width = self.nuclei.lateral[-1].in_channels
        self.look = nn.Conv2d(width, 1 + len(APPEARANCE), 1)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, 9, S/2, S/2).

        The maps of `NucleiNet`, then density and `APPEARANCE`, standardised, the same throughout
        a cell of the coarsest features.
        """
        features = self.nuclei.features(x)
        maps = self.nuclei.decode(features, x.shape[2], x.shape[3])
        looks = functional.interpolate(self.look(features[-1]), maps.shape[2:], mode="nearest")
        return torch.cat([maps, looks], dim=1)
