"""What runs on the user's machine: find the deployed stack, submit to it, watch it, examine it."""
