"""The steps of a run in words; the log has their short names."""

from __future__ import annotations

STEPS = {
    "teacher": "fine-tune the teacher",
    "teacher outputs": "check the teacher's outputs",
    "evaluate teacher": "score the teacher",
    "signal": "store the teacher's outputs for the data of short trainings",
    "search": "search: train and score candidates briefly",
    "random search": "random search as a control",
    "floor": "train and score the linear model on words",
    "transfer set": "make the transfer set",
    "hand-picked, as fast": "look for a hand-picked shape as fast as the winner",
    "distil student": "distil the student in full",
    "control fine-tuned": "train the control without distillation",
    "evaluate student": "score and time the student",
    "latency student": "time student and teacher by batch size and length",
    "signal labels-alone": "prepare the control without distillation",
    "fidelity": "distil students in full to check the search's score (kdnas fidelity)",
}
# By their first word or words; the rest says of what.
PREFIXES = {
    "signal ": "store the teacher's outputs for the stage {}",
    "distil ": "distil in full: {}",
    "control ": "train the control: {}",
    "evaluate students ": "score and time the student of {}",
    "evaluate controls ": "score and time the control: {}",
    "evaluate ": "score and time: {}",
    "costs ": "count and time {}",
    "select ": "choose what ships: score {}",
    "latency students ": "time by batch size and length: the student of {}",
    "latency ": "time by batch size and length: {}",
    "fidelity ": "distil and score, to check the search's score: {}",
}


def step_in_words(name: str) -> str:
    """What a step did; a name that is not known stays as it is."""
    if name in STEPS:
        return STEPS[name]
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix):
            return words.format(name.removeprefix(prefix))
    return name
