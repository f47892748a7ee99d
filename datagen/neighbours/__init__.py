"""Near neighbours among many unit vectors: all pairs whose cosine reaches a threshold.

Pure functions on arrays, with faiss for one step (k-means); nothing here knows of stages, runs or workers.

- ``pairs.near_pairs`` does the whole in one process; its pieces are what parallel tasks call.
- ``sketch`` turns a vector into a short one whose products never underestimate a cosine: a filter without loss.
- ``cells`` puts like vectors into cells and says in which further cells a vector must be looked up.
- ``search`` finds the pairs inside a cell, ``exact`` those of a whole matrix.
- ``recall`` measures what cells miss, and tunes how far a vector is looked up.
- ``choose`` picks the method, ``costs`` predicts time, memory and disk.
"""
