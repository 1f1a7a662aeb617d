"""CLAM (Lu et al., Nature Biomedical Engineering 5:555, 2021): attention that also clusters.

Single branch (SB), as gated ABMIL:        y = C (sum_k a_k x_k) + b
Multiple branches (MB), one a class:       y_c = w_c . (sum_k a_ck x_k) + b_c

Training adds instance classifiers, one a class. In a slide of class t, the `MOST` instances with
the most attention are t's and the `MOST` with the least are not; where classes exclude each
other, what another class's branch attends to most is not that class's.

    L = SHARE * CE(y, t) + (1 - SHARE) * L_instances

Two classes are taken as finding and no finding: healthy tissue is in both, so nothing is said of
the other class. Three and more are taken as subtypes that exclude each other. The instance loss
is the cross-entropy; the paper's smooth SVM is its margin variant.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.mil.heads.attention import GatedAttention, projection, softmax_over
from pipelines.mil.heads.head import BagOutput, Head, of_predicted_class, weighted_cross_entropy

MOST = 8  # instances at either end of the attention, the paper's B
SHARE = 0.7  # of the slides' loss, the paper's c1


class Clam(Head):
    """CLAM; with several branches the attention is that of the predicted class.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    multiple
        One attention for every class (MB) instead of one for all (SB).
    hidden_dim, attention_dim
        Lengths of x_k and of the attention's hidden layer; 512 and 256 in the paper.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        multiple: bool,
        hidden_dim: int = 128,
        attention_dim: int = 64,
    ) -> None:
        super().__init__(hidden_dim=hidden_dim, attention_dim=attention_dim)
        self.multiple = multiple
        self.exclusive = classes > 2
        self.project = projection(dim, hidden_dim)
        self.attend = GatedAttention(hidden_dim, attention_dim, branches=classes if multiple else 1)
        self.classify = nn.Linear(hidden_dim, classes)
        self.clusters = nn.ModuleList(nn.Linear(hidden_dim, 2) for _ in range(classes))

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`."""
        return self._answer(*self._attended(bags, bag_mask))

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy of the slides and of the instances at either end of the attention."""
        hidden, attention = self._attended(bags, bag_mask)
        slides = weighted_cross_entropy(self._answer(hidden, attention).logits, target, weight)
        instances = [
            self._instance_loss(hidden[b, real], attention[b, real], int(target[b]))
            for b, real in enumerate(bag_mask)
        ]
        return SHARE * slides + (1 - SHARE) * torch.stack(instances).mean()

    def _attended(self, bags: Tensor, bag_mask: Tensor) -> tuple[Tensor, Tensor]:
        """X (B, N, H) and attention (B, N, branches)."""
        hidden = self.project(bags)
        return hidden, softmax_over(self.attend(hidden), bag_mask)

    def _answer(self, hidden: Tensor, attention: Tensor) -> BagOutput:
        pooled = torch.einsum("bnk,bnh->bkh", attention, hidden)
        if self.multiple:
            logits = (pooled * self.classify.weight).sum(dim=2) + self.classify.bias
            attention = of_predicted_class(attention, logits)
        else:
            logits, attention = self.classify(pooled[:, 0]), attention[..., 0]
        return BagOutput(logits=logits, attention=attention, tile_logits=self.classify(hidden))

    def _instance_loss(self, hidden: Tensor, attention: Tensor, target: int) -> Tensor:
        """Mean over the classes asked of the loss of one bag: (n, H), (n, branches)."""
        count = min(MOST, len(hidden) // 2)
        if count == 0:  # a single instance is at both ends
            return hidden.new_zeros(())
        losses = []
        for number, cluster in enumerate(self.clusters):
            branch = attention[:, number if self.multiple else 0]
            most = hidden[branch.topk(count).indices]
            if number == target:
                least = hidden[branch.topk(count, largest=False).indices]
                answers = cluster(torch.cat([most, least]))
                truth = torch.arange(2 * count, device=hidden.device) < count
            elif self.exclusive:
                answers = cluster(most)
                truth = torch.zeros(count, dtype=torch.bool, device=hidden.device)
            else:
                continue
            losses.append(functional.cross_entropy(answers, truth.long()))
        return torch.stack(losses).mean()
