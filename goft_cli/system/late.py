"""Run an action right after a library is imported, whichever code imports it.

Python has no hook for this: a finder on `sys.meta_path` lets the other finders find the library,
and wraps the `exec_module` of the loader that they return. Loader and `__spec__` are not replaced.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # these imports take longer than this module's own
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def when_imported(name: str, action: Callable[[], object]) -> None:
    """Call `action` once: now if the library is imported, else right after its first import."""
    finder = _Finder(name, action)
    sys.meta_path.insert(0, finder)
    if sys.modules.get(name) is not None:  # checked last: another thread may just have imported it
        finder.finish()


class _Finder:
    def __init__(self, name: str, action: Callable[[], object]) -> None:
        self.name, self.action = name, action
        self.asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the result of the other finders; they may call this one in turn."""
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
        """Make this loader, which may load other modules too, report the end of the import."""
        original = loader.exec_module  # pyright: ignore[reportAttributeAccessIssue]

        def exec_module(module: ModuleType) -> None:
            original(module)  # after an error here, the next import calls this function again
            if module.__name__ == self.name:
                vars(loader).pop("exec_module", None)
                self.finish()

        vars(loader)["exec_module"] = exec_module

    def finish(self) -> None:
        """Remove this finder and run the action; a second call does nothing."""
        if self in sys.meta_path:
            # a new list: another thread may be iterating over this one
            sys.meta_path = [one for one in sys.meta_path if one is not self]
            self.action()
