"""The searches of a fit with one program for each face (Triton), for the card.

A program keeps the pose, the shape and the normal equations of its face in registers and reads the response maps where
they lie, so that what the torch forms start thousands of operations for is one launch. Everything is float32; products
are never rounded to TF32. A face's result does not depend on the others.
"""
