"""Students: built from an architecture, started from their teacher's weights."""

from kdnas.student.build import build_student, empty_student
from kdnas.student.inherit import inherit_weights

__all__ = ["build_student", "empty_student", "inherit_weights"]
