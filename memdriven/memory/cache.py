"""A cache that keeps what was used last, for tensors that are costly to compute."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor


class LruCache:
    """Tensors by whole-number key; the longest unused go when there are more than `size`.

    Safe to share between threads; two that miss the same key at once both compute it.
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` tensors."""
        self.size = size
        self._held: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many tensors are held."""
        return len(self._held)

    def fetch(self, keys: Sequence[int], make: Callable[[list[int]], Sequence[Tensor]]) -> list[Tensor]:
        """Return the tensor of each key, computing those that are missing in one call.

        Args:
            keys: what is wanted, in this order, with repetitions if need be.
            make: from missing keys, each once, to their tensors.
        """
        found: dict[int, Tensor] = {}
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)
                    found[key] = self._held[key]
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if missing:
            found.update(zip(missing, make(missing), strict=True))
            with self._lock:
                for key in missing:
                    self._held[key] = found[key]
                    self._held.move_to_end(key)
                while len(self._held) > self.size:
                    self._held.popitem(last=False)
        return [found[key] for key in keys]
