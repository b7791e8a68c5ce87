"""Types of fields with bounds: what no device measures is refused when it is read."""

from typing import Annotated

from pydantic import Field

Text = Annotated[str, Field(max_length=2_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Time = Annotated[float, Field(ge=0, le=1e15)]  # ns: eleven days
Positive = Annotated[float, Field(gt=0, le=1e15)]
Seconds = Annotated[float, Field(ge=0, le=1e7)]
Cores = Annotated[int, Field(ge=1, le=100_000)]
Core = Annotated[int, Field(ge=0, le=99_999)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
