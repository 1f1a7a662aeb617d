"""Areas as people read them."""

LEAST_MM2 = 1e-4  # smaller ones are said to be


def in_mm2(area: float) -> str:
    """An area, mm², with three significant digits and never an exponent.

    Examples
    --------
    >>> in_mm2(0.012345), in_mm2(1234.5), in_mm2(1e-6), in_mm2(0)
    ('0.0123 mm²', '1230 mm²', '< 0.0001 mm²', '0 mm²')
    """
    if 0 < area < LEAST_MM2:
        return f"< {LEAST_MM2:.4f} mm²"
    return f"{float(f'{area:.3g}'):g} mm²"
