"""What one training step is, as data: nets and a list of phases."""
