"""Transfer sets: a task's rows and many more like them, for the teacher to label."""
