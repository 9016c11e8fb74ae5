"""Imports the app's modules from the archive in memory.

A module's file name is its name in the archive, so that a traceback shows ``model.py, line 12``
with the line's text, although no such file exists on the machine.
"""

import importlib
import importlib.util
import linecache
import sys
from collections.abc import Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from typing_extensions import override

from slipway_open.archive import AppArchive
from slipway_open.problems import AppNotLoadableError


class ArchiveImporter(MetaPathFinder, ExecutionLoader):
    def __init__(self, archive: AppArchive) -> None:
        self._archive = archive

    def install(self) -> None:
        """Take part in imports, after all others.

        An app that could come first would replace modules under the feet of the libraries it
        uses; so a name that is taken is refused, in place of being silently the wrong module.
        """
        for name in sorted(self._archive.names):
            top, _, rest = name.partition("/")
            module = top.removesuffix(".py") if not rest else top
            is_module = top.endswith(".py") if not rest else rest.endswith(".py")
            if is_module and (module in sys.stdlib_module_names or module == "slipway_open"):
                raise AppNotLoadableError(f"{name} has the name of a Python module: rename it.")
        sys.meta_path.append(self)

    def uninstall(self) -> None:
        """Leave, and forget the modules that came from the archive."""
        sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            specification = getattr(module, "__spec__", None)
            if specification is not None and specification.loader is self:
                del sys.modules[name]

    def load(self, entry: str) -> Any:
        """Give the object that ``module:object`` names."""
        module_name, _, attribute = entry.partition(":")
        if self._find(module_name) is None:
            raise AppNotLoadableError(f"The entry {entry!r} names a module the app does not have.")
        module = importlib.import_module(module_name)
        if not hasattr(module, attribute):
            raise AppNotLoadableError(f"The module {module_name!r} has no object {attribute!r}.")
        return getattr(module, attribute)

    @override
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        name = self._find(fullname)
        if name is None:
            return None
        is_package = name.endswith("/__init__.py")
        specification = ModuleSpec(fullname, self, origin=name, is_package=is_package)
        specification.has_location = True
        return specification

    @override
    def get_filename(self, fullname: str) -> str:
        name = self._find(fullname)
        if name is None:
            raise ImportError(f"the app has no module {fullname!r}", name=fullname)
        return name

    @override
    def get_source(self, fullname: str) -> str:
        name = self.get_filename(fullname)
        source = importlib.util.decode_source(self._archive.read(name))
        # Without this, a traceback would look for the file in the working folder.
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        return source

    @override
    def is_package(self, fullname: str) -> bool:
        return self.get_filename(fullname).endswith("/__init__.py")

    def _find(self, module_name: str) -> str | None:
        base = module_name.replace(".", "/")
        for name in (f"{base}/__init__.py", f"{base}.py"):
            if name in self._archive.names:
                return name
        return None
