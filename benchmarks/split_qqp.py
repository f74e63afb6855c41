"""Training and validation files of QQP from a labelled sample without a header.

    python benchmarks/split_qqp.py SAMPLE.tsv --out FOLDER

FOLDER gets `QQP/{train,dev}.tsv` in GLUE's columns, for `--task qqp --data-dir FOLDER`: 3,000 rows
that a fixed seed draws are `dev`, the others `train`. Rows that lack a column are left out.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from command_line import a_file, in_one_line

from kdnas.files.atomic import write_text

COLUMNS = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
HELD_OUT = 3000


@in_one_line()
def main() -> None:
    """Writes both files; prints how many rows each has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sample", type=a_file)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = args.sample.read_text(encoding="utf-8").split("\n")
    rows = [line for line in lines if line.count("\t") == len(COLUMNS) - 1]
    random.Random(0).shuffle(rows)
    folder = args.out / "QQP"
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in (("dev", rows[:HELD_OUT]), ("train", rows[HELD_OUT:])):
        write_text(folder / f"{name}.tsv", "\n".join(["\t".join(COLUMNS), *some]) + "\n")
        print(f"{folder / name}.tsv: {len(some)} rows")


if __name__ == "__main__":
    main()
