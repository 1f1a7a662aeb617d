"""The heads beside torchmil's (Castro-Macías et al., Apache-2.0): same weights, same logits.

torchmil's models give one logit; ours are asked for one class. Its DTFD has attention without a
gate and random pseudo-bags, so it is given a gate and one pseudo-bag.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from pipelines.mil.heads.abmil import GatedAbmil
from pipelines.mil.heads.attention import GatedAttention
from pipelines.mil.heads.clam import Clam
from pipelines.mil.heads.dsmil import Dsmil
from pipelines.mil.heads.dtfd import Dtfd
from pipelines.mil.heads.head import Head
from pipelines.mil.heads.transmil import TransMil

models = pytest.importorskip("torchmil.models", reason="torchmil is not installed")
layers = pytest.importorskip("torchmil.nn")

DIM, HIDDEN, ATTENTION = 12, 16, 8


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def bags(length: int) -> Tensor:
    return torch.randn(3, length, DIM, generator=Generator().manual_seed(1))


def copy(ours: nn.Linear, theirs: Any) -> None:
    theirs = getattr(theirs, "module", theirs)  # torchmil's linear layers wrap torch's
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        if theirs.bias is not None:
            theirs.bias.copy_(ours.bias)


def copy_attention(ours: GatedAttention, theirs: Any) -> None:
    copy(ours.tanh_branch, theirs.fc1)
    copy(ours.sigmoid_branch, theirs.fc_gated)
    copy(ours.score, theirs.fc2)


def logits(head: Head, batch: Tensor) -> Tensor:
    return head.eval()(batch, torch.ones(batch.shape[:2], dtype=torch.bool)).logits[:, 0]


def test_gated_abmil() -> None:
    ours = GatedAbmil(DIM, 1, hidden_dim=HIDDEN, attention_dim=ATTENTION)
    theirs = models.ABMIL((DIM,), ATTENTION, gated=True, feat_ext=ours.project.eval())
    copy_attention(ours.attend, theirs.pool)
    copy(ours.classify, theirs.classifier)
    batch = bags(20)
    expected, scores = theirs.eval()(batch, return_att=True)
    output = ours.eval()(batch, torch.ones(3, 20, dtype=torch.bool))
    torch.testing.assert_close(output.logits[:, 0], expected)
    torch.testing.assert_close(output.attention, scores.softmax(1))


def test_clam_single_branch() -> None:
    ours = Clam(DIM, 1, multiple=False, hidden_dim=HIDDEN, attention_dim=ATTENTION)
    theirs = models.CLAM_SB((DIM,), ATTENTION, gated=True, feat_ext=ours.project.eval())
    copy_attention(ours.attend, theirs.pool)
    copy(ours.classify, theirs.classifier)
    torch.testing.assert_close(logits(ours, bags(20)), theirs.eval()(bags(20)))


def test_dsmil() -> None:
    ours = Dsmil(DIM, 1, hidden_dim=HIDDEN, query_dim=ATTENTION)
    theirs = models.DSMIL((DIM,), ATTENTION, feat_ext=ours.project.eval())
    with torch.no_grad():  # theirs takes the instances for values
        ours.value.weight.copy_(torch.eye(HIDDEN))
        ours.value.bias.zero_()
    copy(ours.query, theirs.q_nn)
    copy(ours.score, theirs.inst_classifier)
    copy(ours.classify, theirs.bag_classifier)
    torch.testing.assert_close(logits(ours, bags(20)), theirs.eval().predict(bags(20)))


def test_dtfd() -> None:
    ours = Dtfd(DIM, 1, hidden_dim=HIDDEN, attention_dim=ATTENTION, groups=1)
    theirs = models.DTFDMIL(
        (DIM,), ATTENTION, n_groups=1, distill_mode="afs", feat_ext=ours.project.eval()
    )
    theirs.attention_pool = layers.AttentionPool(HIDDEN, ATTENTION, gated=True)
    theirs.u_attention_pool = layers.AttentionPool(HIDDEN, ATTENTION, gated=True)
    copy_attention(ours.attend, theirs.attention_pool)
    copy_attention(ours.attend_groups, theirs.u_attention_pool)
    copy(ours.classify_group, theirs.classifier)
    copy(ours.classify, theirs.u_classifier)
    batch = bags(20)
    torch.testing.assert_close(logits(ours, batch), theirs.eval()(batch))
    bag_mask = torch.ones(3, 20, dtype=torch.bool)
    _, distilled, _ = ours._tiers(ours.project(batch), bag_mask)
    _, pseudo = theirs(batch, return_pseudo_pred=True)
    torch.testing.assert_close(ours.classify_group(distilled)[..., 0], pseudo)


@pytest.mark.parametrize("length", [9, 49, 46, 91])
def test_transmil(length: int) -> None:
    """Bags that fill a square and such that do not; landmarks that divide the tokens.

    In double precision, with attention far from even and the pseudo-inverse iterated to its end:
    that of nearly even attention is ill-conditioned, and theirs starts the iteration elsewhere.
    """
    tokens = (int((length - 1) ** 0.5) + 1) ** 2 + 1
    landmarks = {10: 10, 50: 5, 101: 101}[tokens]
    ours = TransMil(DIM, 1, hidden_dim=HIDDEN, attention_heads=2, landmarks=landmarks)
    theirs = models.TransMIL(
        (DIM,),
        att_dim=HIDDEN,
        n_layers=2,
        n_heads=2,
        n_landmarks=landmarks,
        pinv_iterations=60,
        feat_ext=ours.project.eval(),
    )
    for attention, norm, layer in zip(ours.layers, ours.norms, theirs.layers, strict=False):
        attention.iterations = 60
        with torch.no_grad():  # theirs has no projection of the output
            attention.out.weight.copy_(torch.eye(HIDDEN))
            attention.out.bias.zero_()
            attention.qkv.weight *= 4
        copy(attention.qkv, layer.att_module.qkv_nn)
        norm.load_state_dict(layer.norm1.state_dict())
    with torch.no_grad():
        theirs.cls_token.copy_(ours.class_token[None, None])
    sides = (theirs.pos_layer.proj, theirs.pos_layer.proj1, theirs.pos_layer.proj2)
    for position, side in zip(ours.positions, sides, strict=True):
        side.load_state_dict(position.state_dict())
    ours.norms[2].load_state_dict(theirs.norm.state_dict())
    copy(ours.classify, theirs.classifier)
    batch = bags(length).double()
    found, expected = logits(ours.double(), batch), theirs.double().eval()(batch)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
