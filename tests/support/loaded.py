"""What the fork server imports once for all its processes."""
# ruff: noqa: F401

import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite
import transformers.models.bert.modeling_bert

import kdnas.cli.app
import kdnas.study.join
import kdnas.workflow.pipeline
