"""Documents of the original cloud-buster: conversion from and to its JSON formats.

Everything is in `documents`, which `storage`, `catalogs`, the stages and the adapters import.
"""
