"""Public test doubles: synthetic speech whose truth is known. Real parts are preferred wherever they can be had."""
