"""Whether computing in bfloat16 is worth it."""

import torch


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulating it is slower than float32."""
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and torch.cpu._is_avx512_bf16_supported()
