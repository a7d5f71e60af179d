"""Data sets: annotations, face crops, boxes, and training samples of CEN experts, heatmap experts and validators."""
