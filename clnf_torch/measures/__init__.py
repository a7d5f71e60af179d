"""Measures of fitted faces in front of the camera: 3D landmarks, head pose, gaze, distances and angles."""
