"""What `make bench` runs: speed as ratios against something run beside it, in one run on one machine."""
