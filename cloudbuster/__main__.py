"""``python -m cloudbuster``: the command line, where its script is not on the PATH."""

from cloudbuster.cli.main import main

if __name__ == "__main__":
    main()
