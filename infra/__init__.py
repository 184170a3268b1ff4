"""The AWS stack as code; `python -m infra.app` synthesizes it."""
