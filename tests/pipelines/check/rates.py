"""What measuring might have found, in round numbers."""

from pipelines.check.measure import Fixed, Rates

FIXED = Fixed(
    start_seconds=5.0,
    slide_seconds=2.0,
    slide_bytes=1000.0,
    report_seconds=0.5,
    mm2_seconds=10.0,
    mm2_bytes=100.0,
    peak_bytes=1000,
)
COPIED = Rates(
    tile_seconds=0.5,
    tile_bytes=20.0,
    megapixel_seconds=0.25,
    megapixel_bytes=50.0,
    is_copied=True,
    peak_bytes=4000,
)
