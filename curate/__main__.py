"""The entry of the `curate` command, and of `python -m curate`.

It imports the command only when it is called: a spawned worker imports this module again, and needs none of it.
"""


def main() -> None:
    """Run the command."""
    from curate.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
