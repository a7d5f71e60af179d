"""Pen marks on skin, as surgeons draw them, erased from frames before landmarks are looked for."""

from clnf_torch.pen_marks.eraser import PenMarkEraser, load_pen_mark_eraser

__all__ = ["PenMarkEraser", "load_pen_mark_eraser"]
