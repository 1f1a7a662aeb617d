"""What somebody put into a folder, without what systems and killed runs leave beside it."""

from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is not meant for people.

    macOS writes ``._slide.svs`` beside each ``slide.svs`` of a disk or share that cannot hold its
    notes, file servers keep ``.snapshot`` folders, and a killed run leaves `TMP_MARK` names.
    """
    return name.startswith(".")


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """What matches a glob pattern in a folder, in order; neither hidden nor in a hidden folder."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(is_hidden(part) for part in path.relative_to(folder).parts)
    )


def visible_images(folder: Path, pattern: str = "*") -> list[Path]:
    """Images among the `visible`, by their suffix."""
    return [p for p in visible(folder, pattern) if p.suffix.lower() in IMAGE_SUFFIXES]


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Images directly in a folder; none where there is no such folder."""
    return {path.stem: path for path in visible_images(folder)} if folder.is_dir() else {}
