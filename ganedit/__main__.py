"""``python -m ganedit``: the ``ganedit`` command."""

from ganedit.cli.app import main

if __name__ == "__main__":
    main()
