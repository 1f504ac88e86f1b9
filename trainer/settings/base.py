"""What every settings class is: unknown keys are errors, values do not change, docstrings are the help."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every settings class: unknown keys are errors, values cannot be changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
