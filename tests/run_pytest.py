"""Runs pytest on the files it is given: the entry point of every test target in BUILD."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
