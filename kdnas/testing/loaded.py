"""What the fork server imports once for all its processes."""

import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite  # noqa: F401
import transformers.models.bert.modeling_bert  # noqa: F401
