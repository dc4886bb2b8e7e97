"""Plain NumPy twins of the C functions: oracle and documentation, never used at run time."""
