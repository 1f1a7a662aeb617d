"""Whether computing in bfloat16 is worth it."""

import torch


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulating it is slower than float32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
