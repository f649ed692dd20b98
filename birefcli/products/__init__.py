"""What is made of a matte: cutouts, masks, composites; and what is doubtful about it."""
