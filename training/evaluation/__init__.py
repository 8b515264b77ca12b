"""How good a trained generator is: features, metrics, and what is put together of them."""
