"""A student behind HTTP: EXPORT=served uvicorn app:app, in the folder of app.py and student.py."""

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException
from student import Text, WrongTextsError, load

app = FastAPI(title="A student of kdnas")
label = load(Path(os.environ["EXPORT"]))
Texts = Annotated[list[Text], Body(embed=True, min_length=1, max_length=1000)]


@app.post("/predict")
def predict(texts: Texts) -> list[dict[str, Any]]:
    """Labels texts, or pairs of texts, whichever the student reads."""
    try:
        return label(texts)
    except WrongTextsError as error:
        raise HTTPException(422, str(error)) from error


@app.get("/health")
def health() -> dict[str, str]:
    """Says that the student is loaded."""
    return {"status": "ready"}
