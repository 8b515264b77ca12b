"""The code that runs a model: packed into every archive, and used as it is by the embedded backend."""
