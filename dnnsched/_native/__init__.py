"""Native modules; private: use the public modules of :mod:`dnnsched`."""
