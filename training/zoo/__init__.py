"""The zoo: every objective, and every way to give a label, trained with the same nets and put side by side."""
