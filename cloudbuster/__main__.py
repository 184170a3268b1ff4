"""Command line as ``python -m cloudbuster``, for systems without its script on the PATH."""

from cloudbuster.cli.main import main

if __name__ == "__main__":
    main()
