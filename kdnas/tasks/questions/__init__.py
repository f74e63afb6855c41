"""Questions on contexts: windows, answers as spans, references and how they are compared."""
