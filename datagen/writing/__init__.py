"""Writers: from the record of a clip to training samples, held to the checks of ``verify``."""
