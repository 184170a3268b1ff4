"""What runs inside the stack: the functions behind the states, called by `lambdas/`."""
