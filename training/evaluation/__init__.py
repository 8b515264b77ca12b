"""How good a trained generator is: the judge, the metrics and the report."""
