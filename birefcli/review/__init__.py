"""Contact sheets: pictures and a page on which a person looks through cutouts."""
