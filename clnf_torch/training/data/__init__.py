"""From folders of annotated faces to training samples."""
