"""``python -m photonet.cli`` is the command ``photonet``."""

from . import main

if __name__ == "__main__":
    main()
