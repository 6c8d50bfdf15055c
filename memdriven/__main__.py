"""`python -m memdriven`."""

from memdriven.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
