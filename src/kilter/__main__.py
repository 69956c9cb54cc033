"""`python -m kilter`, and `torchrun -m kilter` for several processes."""

from kilter.cli import main

if __name__ == "__main__":
    main()
