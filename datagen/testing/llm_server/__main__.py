"""``python -m datagen.testing.llm_server BEHAVIOUR``: prints its port. See ``serve.ServerProcess``."""

import sys

from datagen.testing.llm_server.serve import main

if __name__ == "__main__":
    main(sys.argv[1])
