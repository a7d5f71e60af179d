"""Rendered faces whose landmarks, gaze and pose are known exactly, from free material alone."""
