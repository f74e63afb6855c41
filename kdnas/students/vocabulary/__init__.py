"""Vocabularies of students: their teacher's, or the part of it that a task's texts need."""

from kdnas.students.vocabulary.vocabulary import Vocabulary, cut_vocabulary

__all__ = ["Vocabulary", "cut_vocabulary"]
