"""One file per stage, in the order data flows; each follows the contract in ``datagen/stage.py``."""
