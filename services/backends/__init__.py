"""Where the pictures are made, behind one small interface."""
