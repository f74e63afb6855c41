"""What a report tells beside its plots: commands, words, data, samples, settings."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import Any

from kdnas.config import Settings
from kdnas.config.groups import is_of_a_search, panel_of
from kdnas.config.shape import DECODERS, EMBEDDINGS, LAYERS, WIDTH, shape_text
from kdnas.report.data import ReportData
from kdnas.report.model import Report, SplitFacts
from kdnas.report.named import Named
from kdnas.report.page import Command, Section, Table
from kdnas.report.search_summary import bargain_words, longer
from kdnas.runtime.formatting import several
from kdnas.scoring.costs import MARGIN
from kdnas.scoring.reward import limit_on_cost
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.tasks import TASK_TYPES

NEXT = Section("next", "What next", "Each line is a command for a terminal; Copy takes it along.")
WORDS = Section("words", "What the words mean", "The numbers of this page in a person's words.")
DATA = Section(
    "data",
    "Data",
    "What was trained on and scored. Lengths are in tokens of the teacher's tokenizer, of whole "
    "texts.",
)
SAMPLES = Section("samples", "Where teacher and student differ", "")
SETTINGS = Section(
    "settings",
    "Settings",
    "Every option of the run; its config.yaml has the same, for kdnas search --config.",
)
MOST_CLASSES = 12


def next_section(data: ReportData) -> Section:
    """The commands that a person will want next."""
    names, report = data.names, data.report
    run, search = names.run, report and report.search
    own = data.home == data.folder
    commands = []
    if report is None:
        commands.append(Command(f"kdnas resume {run}", "go on, to a finished student"))
        commands.append(Command(f"kdnas report {run} --watch", "keep this page up to date"))
        return replace(NEXT, commands=commands)
    does = TASK_TYPES[report.task_type].predict_does
    commands.append(Command(predict_line(report, names.model), f"{does} with the student"))
    for one in search.bargains if search else ():
        line = f"kdnas distill {run} --trial {one.trial}"
        commands.append(Command(line, f"another student, trial {one.trial}: {bargain_words(one)}"))
    if search:
        if faster := twice_as_fast(report):
            line = faster_line(report, run)
            commands.append(Command(line, f"a student {faster} times as fast"))
        commands += [
            Command(f"kdnas resume {run} {longer(data.settings)}", "search for longer"),
            Command(f"kdnas fidelity {run}", "check what the search's score is worth"),
        ]
    else:
        commands.append(Command(_smaller(report, data), "a smaller student"))
    task = "" if own else f" --config {quote(str(data.folder / 'config.yaml'))}"
    commands += [
        Command(f"kdnas evaluate {names.model}{task}", "score it again"),
        Command(export_line(names), "ship it for ONNX Runtime"),
    ]
    if own:  # kdnas report tells of a run's own student
        words = "verdict and table for a pull request"
        commands.append(Command(f"kdnas report {run} --markdown", words))
    return replace(NEXT, commands=commands)


def predict_line(report: Report, model: str) -> str:
    """The command that asks a model, which is named as it is given, about one row."""
    texts = report.data.texts if report.data else 1
    return f"kdnas predict {model} {TASK_TYPES[report.task_type].predict_example(texts)}"


def export_line(names: Named) -> str:
    """The command that ships a student for ONNX Runtime."""
    return f"kdnas export {names.run}{names.which} --format onnx,int8"


def faster_line(report: Report, run: str) -> str:
    """The command that distils a student `twice_as_fast`; empty where there is none."""
    faster = twice_as_fast(report)
    return f"kdnas distill {run} --speedup {faster}" if faster else ""


def twice_as_fast(report: Report) -> int | None:
    """A speed-up of twice the student's, rounded, which a trial reaches, with a margin."""
    twice = 2 * max(1, round(report.speedup))
    fastest = report.search.fastest if report.search else None
    return twice if fastest and fastest >= MARGIN * twice else None


def _smaller(report: Report, data: ReportData) -> str:
    """The command that distils half the student by the settings of its run."""
    if data.settings.pruned and not data.settings.searches:
        return _pruned_further(report, data)
    half, folder = shape_text(_half(report.student.architecture)), data.folder
    config, out = quote(str(folder / "config.yaml")), quote(f"{folder}-{half}")
    return f"kdnas distill --config {config} --architecture {half} --out {out}"


def _half(whole: Architecture | PrunedArchitecture) -> dict[str, int | str]:
    """Half the layers of each stack; of one layer half the width."""
    deep, wide, decoder, narrow = whole.num_hidden_layers, whole.hidden_size, 0, 0
    if isinstance(whole, Architecture):
        decoder, narrow = whole.num_decoder_layers, whole.embedding_size
    wide = wide if max(deep, decoder) > 1 else max(1, wide // 2)
    found: dict[str, int | str] = {LAYERS: max(min(1, deep), deep // 2), WIDTH: wide}
    if decoder:  # left out it would be as deep beside its encoder as the teacher's
        found[DECODERS[LAYERS]] = max(1, decoder // 2)
    if 0 < narrow < wide:
        found[EMBEDDINGS] = narrow
    return found


def _pruned_further(report: Report, data: ReportData) -> str:
    """The command that prunes twice as far."""
    settings, folder = data.settings, data.folder
    if settings.sparsity is not None:
        further = f"--sparsity {(1 + settings.sparsity) / 2:.3g}"
    else:
        before = [*settings.speedups, settings.speedup or settings.speedups[-1]]
        several = ",".join(f"{one:g}" for one in settings.speedups)
        further = f"--speedup {several}{',' * bool(several)}{2 * before[-1]:g}"
    config, out = quote(str(folder / "config.yaml")), quote(f"{folder}-further")
    return f"kdnas distill --config {config} {further} --out {out}"


AGREES = (
    "It is how far a student predicts what the teacher predicts, after a short run of its own "
    "recipe: 1 is the teacher, 0 is one answer for all rows."
)
EXPLAINS = (
    "With the default it is the share of the variance of the teacher's {} that a "
    "student explains: 1 is the teacher, 0 is no better than their mean."
)


def words_section(data: ReportData) -> Section:
    """What score, reward and names mean, by the settings of this run."""
    s = data.settings
    recorded = s.teacher_predictions is not None
    states, beside = ("logits", "student base") if recorded else ("hidden states", "teacher")
    main = data.report.main_score if data.report else "the task's main metric"
    of_search = [
        (
            "score",
            "What the search ranks by: 1 minus the held-out loss after a short training "
            f"(scorer {s.scorer}). {AGREES if s.scores_agreement else EXPLAINS.format(states)} It "
            "is not the task's score.",
        ),
        ("reward", _reward(s)),
        (
            "front",
            "The students that no other beats in both score and cost. A student beside the front "
            "is the worse choice by these numbers.",
        ),
    ]
    rows = [
        *(of_search if data.study else ()),
        ("speed-up", f"The {beside}'s latency over the student's, timed in turns ({_timed(s)})."),
        ("final score", f"{main} after the full training, on rows that no training has seen."),
        (
            "name of a student",
            "4x256 h4 f1024 gelu: 4 layers of hidden size 256, 4 attention heads, 1024 neurons in "
            "each feed-forward layer, and its activation.",
        ),
    ]
    return replace(WORDS, table=Table(("word", "meaning"), rows, words=True))


def _timed(settings: Settings) -> str:
    return f"batch {settings.latency_batch}, {settings.latency_length} tokens"


def _reward(s: Settings) -> str:
    cost = {"latency": "latency", "macs": "MACs", "params": "parameters"}[s.cost]
    how = "What the search maximises" if s.objective == "reward" else "Told beside the front"
    whose = "teacher's" if s.teacher_predictions is None else "student base's"
    found = (
        f"{how}: score x ({cost} / ({s.beta:g} x the {whose})) ^ {s.alpha:g}. Higher is better; "
    )
    if (limit := limit_on_cost(s)) is None:
        return f"{found}half the {cost} at the same score earns {2**-s.alpha - 1:.1%} more."
    option = f"--speedup {limit:g}" if s.cost == "latency" else f"--max-params {limit:,.0f}"
    less = "fewer parameters earn" if s.cost == "params" else "less latency earns"
    return f"{found}within {option}, {less} nothing more: the best score wins."


def data_section(data: ReportData) -> Section:
    """Rows, classes and lengths of each split."""
    facts = data.report.data if data.report else None
    if facts is None:
        older = "Not known: the student was finished by a kdnas that did not write it down."
        missing = older if data.report else "Told once a student is finished (kdnas resume)."
        return replace(DATA, missing=missing)
    head = ("split", "rows", "median length", "longest", f"over {facts.length}", "labels")
    rows = [
        (
            name,
            f"{split.rows:,}",
            f"{split.median_tokens:,}",
            f"{split.longest_tokens:,}",
            f"{split.cut:.1%}",
            labels_in_words(split),
        )
        for name, split in facts.splits.items()
    ]
    told = f"{DATA.told} Short trainings see {several(f'{facts.proxy:,}', 'row')} of them."
    if facts.assumed:
        told += f" How files were read: {'. '.join(facts.assumed)}."
    beyond = TASK_TYPES[data.report.task_type].long_texts if data.report else "cut"
    share = f"the share of texts that are {beyond}"
    caption = f"Rows, lengths in tokens, {share}, how often each label is."
    return replace(DATA, told=told, table=Table(head, rows, caption=caption))


def labels_in_words(split: SplitFacts) -> str:
    """`60 ham, 40 spam`, most rows first, or the range of numbers."""
    if split.label_range:
        low, high = split.label_range
        return f"{low:g} to {high:g}"
    ordered = sorted(split.classes.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{count:,} {name}" for name, count in ordered[:MOST_CLASSES])
    left = len(ordered) - MOST_CLASSES
    return f"{told} and {several(left, 'other class')}" if left > 0 else told or "-"


def samples_section(data: ReportData) -> Section:
    """Some scored rows on which the two differ, as the run's evaluation stored them."""
    found = data.report.disagreement if data.report else None
    if found is None:
        why = "there is no student yet, or no answers of the teacher to these rows"
        return replace(SAMPLES, missing=f"Not known: {why}.")
    more = " The first ones of each kind:" if found.samples else ""
    told = (
        f"Teacher and student differ on {found.rows:,} of {found.of:,} scored rows "
        f"({found.rows / max(1, found.of):.1%}).{more}"
    )
    if not found.samples:
        return replace(SAMPLES, told=told, missing="They agree on every row.")
    rows = [
        (
            f"{one.text} | {one.text_pair}" if one.text_pair else one.text,
            one.truth,
            _marked(one.teacher, one.truth),
            _marked(one.student, one.truth),
        )
        for one in found.samples
    ]
    head = ("text", "label", "teacher", "student")
    caption = "Scored rows, long texts cut."
    return replace(SAMPLES, told=told, table=Table(head, rows, caption=caption, words=True))


def _marked(answer: str, truth: str) -> str:
    """An answer with a mark where it is right; of numbers hardly one is."""
    return f"{answer} \N{CHECK MARK}" if answer == truth else answer


def settings_section(data: ReportData) -> Section:
    """Every option, what is not the default with its default beside it."""
    rows = [
        (
            name,
            shown(value),
            "" if is_default(name, value) else f"default {default_of(name)}",
            panel,
        )
        for panel, name, value in every_setting(data.settings)
    ]
    table = Table(("option", "value", "", "panel"), rows, caption="Options as resolved.")
    return replace(SETTINGS, table=table)


def every_setting(settings: Settings) -> list[tuple[str, str, Any]]:
    """Panel of --help, name and value of each option that matters, in their order; no password."""
    return [
        (panel_of(name), name, value)
        for name, value in settings.model_dump(mode="json", exclude_defaults=False).items()
        if settings.searches or not is_of_a_search(name)
    ]


def is_default(name: str, value: Any) -> bool:
    """Whether an option has its default."""
    return shown(value) == default_of(name)


def default_of(name: str) -> str:
    """An option's default as it is shown."""
    field = Settings.model_fields[name]
    return shown(field.get_default(call_default_factory=True))


def shown(value: Any) -> str:
    """A setting as a person reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
