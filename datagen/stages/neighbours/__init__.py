"""The search before condensation: who reads nearly the same, who is the same recording, whose takes sound alike.

``stage.py`` puts three searches together: ``texts.py`` (with ``text_keys.py`` and ``text_cells.py``), ``sounds.py``
(with ``prints.py``) and ``voices.py``. Each has rounds of its own (``datagen/rounds.py``).
"""
