"""Training data for speech LLMs that hear how something is said.

Importing this package is light on purpose: no torch, ray, datasets or pyarrow at import time
(``tests/test_import.py`` holds us to it). Everything heavy is imported where it is used.
"""

__version__ = "0.1.0"
