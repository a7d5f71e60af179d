"""Tables of landmarks and measures, as this program, OpenFace and spreadsheets write them."""
