"""The fit of one face after the other as compiled loops (numba), for the processor.

The torch forms compute all faces at once: a face is some thousand numbers, and a batched operation costs more to start
than to run. Arrays are float32 and contiguous; landmarks run along the last axis, so that inner loops are vector
instructions. A face's result does not depend on the others.
"""
