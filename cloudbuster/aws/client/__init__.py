"""What runs on the user's machine: find the deployed stack, submit to it, watch and examine it.

Imports the modules of `cloudbuster.aws` and everything below them, never `cloudbuster.aws.stack`.
"""
