"""The entry of the `curate` command, and of `python -m curate`.

It imports the command only when it is called: a spawned worker imports this module again, and needs none of it.
"""

import atexit
import gc


def main() -> None:
    """Run the command."""
    # A tenth of a start went into looking for garbage among what imports leave: while it grows, and at the exit.
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    from curate.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
