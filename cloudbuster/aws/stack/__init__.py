"""What runs inside the stack: the functions behind the states, called by `lambdas/`.

Imports the modules of `cloudbuster.aws` and everything below them, never `cloudbuster.aws.client`.
"""
