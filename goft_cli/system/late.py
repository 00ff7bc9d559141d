"""Do something as soon as a library is imported, whoever imports it, and import nothing before.

Python has no hook for it: a finder on `sys.meta_path` lets the other finders find the library, and
wraps the `exec_module` of the one loader that they return. The loader, and `__spec__`, stay theirs.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they cost more than this module does
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def when_imported(name: str, action: Callable[[], object]) -> None:
    """Call `action` once: now if the library is there, else right after its first import."""
    finder = _Finder(name, action)
    sys.meta_path.insert(0, finder)
    if sys.modules.get(name) is not None:  # asked second: another thread may just have imported it
        finder.finish()


class _Finder:
    def __init__(self, name: str, action: Callable[[], object]) -> None:
        self.name, self.action = name, action
        self.asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find; they may ask this one in their turn."""
        if fullname != self.name or getattr(self.asking, "others", False):
            return None
        self.asking.others = True
        try:
            spec = self._ask_others(path, target)
        finally:
            self.asking.others = False
        loader = spec and spec.loader
        if loader is not None and hasattr(loader, "exec_module"):
            self._wrap(loader)
        return spec

    def _ask_others(
        self, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        finders = [one for one in sys.meta_path if one is not self and hasattr(one, "find_spec")]
        found = (one.find_spec(self.name, path, target) for one in finders)
        return next((spec for spec in found if spec is not None), None)

    def _wrap(self, loader: object) -> None:
        """Have this loader, which may be asked for others too, report the end of the import."""
        original = loader.exec_module  # pyright: ignore[reportAttributeAccessIssue]

        def exec_module(module: ModuleType) -> None:
            original(module)  # an error ends the import here, and the next one comes by again
            if module.__name__ == self.name:
                vars(loader).pop("exec_module", None)
                self.finish()

        vars(loader)["exec_module"] = exec_module

    def finish(self) -> None:
        """Leave, and act; a second call does nothing."""
        if self in sys.meta_path:
            # a new list: another thread may be on its way through this one
            sys.meta_path = [one for one in sys.meta_path if one is not self]
            self.action()
