"""`python -m benchmarks`: every benchmark, one after the other."""

import importlib
import pkgutil

import benchmarks


def main() -> None:
    """Runs the modules of this package that have a main()."""
    for module in sorted(one.name for one in pkgutil.iter_modules(benchmarks.__path__)):
        run = getattr(importlib.import_module(f"benchmarks.{module}"), "main", None) if module != "__main__" else None
        if run is not None:
            print(f"\n## {module}")
            run()


if __name__ == "__main__":
    main()
