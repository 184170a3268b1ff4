"""Servers: requests over HTTP, objects in S3, and signatures of the Planetary Computer.

boto3 is called through `boto` alone, and HTTP servers through `http` alone.
"""
