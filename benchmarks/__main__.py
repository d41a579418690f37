"""`python -m benchmarks`: every benchmark, one after the other."""

import importlib
import pkgutil

import benchmarks


def main() -> None:
    """Runs the modules of this package that have a main(); one that fails or cannot run stops none of the others."""
    failed = []
    for module in sorted(one.name for one in pkgutil.iter_modules(benchmarks.__path__)):
        run = getattr(importlib.import_module(f"benchmarks.{module}"), "main", None) if module != "__main__" else None
        if run is not None:
            print(f"\n## {module}")
            try:
                run()
            except SystemExit as end:
                if end.code:
                    print(end.code)
                    failed.append(module)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
