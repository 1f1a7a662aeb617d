"""What a process that is about to end leaves for the driver: a short text under a key.

Ray tells the driver that a worker died, not why. The text goes into the key-value store of Ray's
head node, which outlives workers and nodes and costs no process, as an actor would. Ray keeps
that interface internal, so nothing but this file uses it.
"""

from ray.experimental import internal_kv

NAMESPACE = b"raypath"


def leave(key: str, text: str) -> None:
    """Store a text for whoever takes it."""
    internal_kv._internal_kv_put(key.encode(), text.encode(), namespace=NAMESPACE)


def take(key: str) -> str | None:
    """The text under a key, which is removed; None if there is none."""
    found: bytes | None = internal_kv._internal_kv_get(key.encode(), namespace=NAMESPACE)
    if found is None:
        return None
    internal_kv._internal_kv_del(key.encode(), namespace=NAMESPACE)
    return found.decode()
