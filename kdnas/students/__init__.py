"""Students: built from an architecture, started from their teacher's weights."""

from kdnas.students.build import build_student, empty_student, writing_as
from kdnas.students.inherit import inherit_weights

__all__ = ["build_student", "empty_student", "inherit_weights", "writing_as"]
